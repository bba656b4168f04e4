// Streams, events and graphs of the emulated runtime: work happens when somebody waits, not before.
#include "block.h"
#include "cuda/device.h"
#include "cuda/launch.h"
#include "device_values.h"
#include "test/check.h"

using namespace moescope;
using namespace moescope::check;

namespace {

struct AddParams {
  static constexpr cuda::KernelInfo kInfo{"add", 32};
  cuda::Global<int> values = nullptr;
  int amount = 0;
};

void add(AddParams p) { p.values[threadIdx.x] += p.amount; }

void launch_add(cuda::Stream& stream, const cuda::DeviceBuffer& values, int amount) {
  cuda::launch(stream, add, {}, 32, 0, {.values = values.as<int>(), .amount = amount});
}

}  // namespace

CASE("nothing has happened before somebody waits") {
  cuda::Stream stream;
  const cuda::DeviceBuffer values = on_device(stream, std::vector<int>(32, 1));
  std::vector<int> host(32, 0);
  launch_add(stream, values, 2);
  cuda::copy_to_host(stream, host.data(), values.data(), values.bytes());
  CHECK_EQ(host[0], 0);
  stream.synchronize();
  CHECK_EQ(host[31], 3);
}

CASE("an event orders two streams, and only what came before it") {
  cuda::Stream first, second;
  cuda::Event event;
  const cuda::DeviceBuffer values = on_device(first, std::vector<int>(32, 1));
  launch_add(first, values, 2);
  event.record(first);
  launch_add(first, values, 10);
  CHECK(!event.is_done());
  second.wait(event);
  std::vector<int> host(32, 0);
  cuda::copy_to_host(second, host.data(), values.data(), values.bytes());
  second.synchronize();
  CHECK_EQ(host[0], 3);
  CHECK(event.is_done());
  CHECK_EQ(on_host<int>(first, values)[0], 13);
}

CASE("a graph replays what was recorded, and recording runs nothing") {
  cuda::Stream stream;
  const cuda::DeviceBuffer values = on_device(stream, std::vector<int>(32, 0));
  cuda::Graph::begin_capture(stream);
  launch_add(stream, values, 1);
  launch_add(stream, values, 2);
  CHECK_FAILS(stream.synchronize(), Internal);
  const cuda::Graph graph = cuda::Graph::end_capture(stream);
  CHECK_EQ(on_host<int>(stream, values)[0], 0);
  for (int i = 0; i < 3; ++i) graph.launch(stream);
  CHECK_EQ(on_host<int>(stream, values)[5], 9);
  CHECK_FAILS(cuda::Graph::end_capture(stream), Internal);
}

CASE("an error shows where the stream is waited for, and the stream goes on") {
  cuda::Stream stream;
  const cuda::DeviceBuffer small(16), values = on_device(stream, std::vector<int>(32, 0));
  launch_add(stream, small, 1);
  launch_add(stream, values, 1);
  CHECK_FAILS(stream.synchronize(), Internal);
  CHECK_EQ(on_host<int>(stream, values)[0], 0);
  launch_add(stream, values, 4);
  CHECK_EQ(on_host<int>(stream, values)[0], 4);
}

CASE("copies outside of device memory are refused") {
  cuda::Stream stream;
  const cuda::DeviceBuffer values(16);
  std::vector<char> host(32);
  CHECK_FAILS(cuda::copy_to_host(stream, host.data(), values.data(), 17), Internal);
  CHECK_FAILS(cuda::copy_to_device(stream, host.data(), values.data(), 16), Internal);
}
