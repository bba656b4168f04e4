// cuda/runtime.h over the emulator. A stream is a queue of work that nothing runs until somebody waits: what forgets to wait finds
// memory unchanged. A stream that fails drops what is left of its queue.
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "core/error.h"
#include "cuda/runtime.h"
#include "emulated_launch.h"
#include "memory.h"

namespace moescope::cuda {

namespace {

using Work = std::function<void()>;

struct Queue {
  std::deque<Work> work;
  uint64_t num_enqueued = 0, num_done = 0;
  std::shared_ptr<std::vector<Work>> captured;  // while the stream is being captured
};

struct Mark {
  std::shared_ptr<Queue> queue;  // null: never recorded
  uint64_t place = 0;
};

std::set<std::shared_ptr<Queue>>& queues() {
  static std::set<std::shared_ptr<Queue>> all;
  return all;
}

std::shared_ptr<Queue>& queue_of(const Stream& stream) {
  return *static_cast<std::shared_ptr<Queue>*>(stream.handle());
}
Mark& mark_of(const Event& event) { return *static_cast<Mark*>(event.handle()); }

void run_until(Queue& queue, uint64_t place) {
  while (queue.num_done < place && !queue.work.empty()) {
    const Work next = std::move(queue.work.front());
    queue.work.pop_front();
    ++queue.num_done;
    try {
      next();
    } catch (...) {
      queue.num_done += queue.work.size();
      queue.work.clear();
      throw;
    }
  }
}

void refuse_while_capturing(const Queue& queue, const char* what) {
  if (queue.captured != nullptr) fail(ErrorCode::Internal, "A stream that is being captured cannot ", what, ".");
}

// What device calls without a stream do on a card: they wait for everything.
void finish_all() {
  for (const auto& queue : queues()) {
    try {
      run_until(*queue, queue->num_enqueued);
    } catch (const Error&) {
      // A buffer goes while its stream has failed: whoever waits for that stream was told, or will ask for results that are not there.
    }
  }
}

}  // namespace

int device_count() { return 1; }

DeviceProperties device_properties(int) {
  DeviceProperties properties;
  properties.name = "emulator";
  properties.compute_major = 8;
  properties.num_multiprocessors = 4;
  properties.total_memory = size_t{1} << 32;
  properties.free_memory = properties.total_memory - emulator::bytes_allocated();
  properties.l2_bytes = 4 << 20;
  properties.shared_bytes_per_block = 99 * 1024;
  properties.driver_version = 13000;
  return properties;
}

void select_device(int device) {
  if (device != 0) fail(ErrorCode::InvalidArgument, "Expected device 0 of the emulator, got ", device, ".");
}

DeviceBuffer::DeviceBuffer(size_t bytes) : memory_(emulator::allocate(bytes)), bytes_(bytes) {}

DeviceBuffer::~DeviceBuffer() {
  if (memory_.get() == nullptr) return;
  finish_all();
  emulator::release(memory_.get());
}

PinnedBuffer::PinnedBuffer(size_t bytes) : memory_(::operator new(bytes)), bytes_(bytes) {
  std::memset(memory_.get(), 0xFF, bytes);
}

PinnedBuffer::~PinnedBuffer() {
  if (memory_.get() == nullptr) return;
  finish_all();
  ::operator delete(memory_.get());
}

Stream::Stream() : state_(new std::shared_ptr<Queue>(std::make_shared<Queue>())) { queues().insert(queue_of(*this)); }

Stream::~Stream() {
  if (state_.get() == nullptr) return;
  finish_all();
  queues().erase(queue_of(*this));
  delete static_cast<std::shared_ptr<Queue>*>(state_.get());
}

void Stream::synchronize() {
  Queue& queue = *queue_of(*this);
  refuse_while_capturing(queue, "be waited for");
  run_until(queue, queue.num_enqueued);
}

void Stream::wait(const Event& event) {
  const Mark mark = mark_of(event);
  if (mark.queue == nullptr) return;
  emulator::enqueue(*this, [mark] { run_until(*mark.queue, mark.place); });
}

Event::Event() : state_(new Mark) {}

Event::~Event() { delete static_cast<Mark*>(state_.get()); }

void Event::record(Stream& stream) {
  Queue& queue = *queue_of(stream);
  refuse_while_capturing(queue, "record an event here");
  mark_of(*this) = {queue_of(stream), queue.num_enqueued};
}

void Event::synchronize() const {
  const Mark& mark = mark_of(*this);
  if (mark.queue != nullptr) run_until(*mark.queue, mark.place);
}

bool Event::is_done() const {
  const Mark& mark = mark_of(*this);
  return mark.queue == nullptr || mark.queue->num_done >= mark.place;
}

double elapsed_ms(const Event&, const Event&) { return 0; }

Graph::~Graph() { delete static_cast<std::vector<Work>*>(state_.get()); }

void Graph::begin_capture(Stream& stream) {
  Queue& queue = *queue_of(stream);
  refuse_while_capturing(queue, "begin another capture");
  queue.captured = std::make_shared<std::vector<Work>>();
}

Graph Graph::end_capture(Stream& stream) {
  Queue& queue = *queue_of(stream);
  if (queue.captured == nullptr) fail(ErrorCode::Internal, "A capture was ended that was not begun.");
  Graph graph;
  graph.state_ = Handle(new std::vector<Work>(std::move(*queue.captured)));
  queue.captured = nullptr;
  return graph;
}

void Graph::launch(Stream& stream) const {
  if (state_.get() == nullptr) fail(ErrorCode::Internal, "An empty graph was launched.");
  for (const Work& work : *static_cast<const std::vector<Work>*>(state_.get())) emulator::enqueue(stream, work);
}

namespace {

void enqueue_copy(Stream& stream, void* to, const void* from, size_t bytes) {
  if (bytes > 0) emulator::enqueue(stream, [=] { std::memmove(to, from, bytes); });
}

void check_device_range(const void* device, size_t bytes, const char* what) {
  const emulator::Extent extent = emulator::extent_of(device);
  const char* begin = static_cast<const char*>(device);
  if (bytes == 0 || (extent.begin != nullptr && begin + bytes <= extent.end)) return;
  fail(ErrorCode::Internal, what, " of ", bytes, " bytes goes outside of device memory.");
}

}  // namespace

void copy_to_device(Stream& stream, void* device, const void* host, size_t bytes) {
  check_device_range(device, bytes, "A copy to the device");
  enqueue_copy(stream, device, host, bytes);
}

void copy_to_host(Stream& stream, void* host, const void* device, size_t bytes) {
  check_device_range(device, bytes, "A copy to the host");
  enqueue_copy(stream, host, device, bytes);
}

void copy_on_device(Stream& stream, void* to, const void* from, size_t bytes) {
  check_device_range(to, bytes, "A copy on the device");
  check_device_range(from, bytes, "A copy on the device");
  enqueue_copy(stream, to, from, bytes);
}

void fill_bytes(Stream& stream, void* device, int value, size_t bytes) {
  check_device_range(device, bytes, "A fill");
  emulator::enqueue(stream, [=] { std::memset(device, value, bytes); });
}

}  // namespace moescope::cuda

namespace moescope::emulator {

void enqueue(cuda::Stream& stream, std::function<void()> work) {
  cuda::Queue& queue = *cuda::queue_of(stream);
  if (queue.captured != nullptr) {
    queue.captured->push_back(std::move(work));
    return;
  }
  queue.work.push_back(std::move(work));
  ++queue.num_enqueued;
}

}  // namespace moescope::emulator
