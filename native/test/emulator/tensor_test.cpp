// Matrix products, matrix loads, byte products and asynchronous copies of the emulator, against plain loops over matrices that are
// laid out by the PTX ISA's tables of fragments.
#include <cmath>

#include "block.h"
#include "cuda/device.h"
#include "cuda/launch.h"
#include "device_values.h"
#include "test/check.h"

using namespace moescope;
using namespace moescope::check;
using cuda::Global;
using cuda::Shared;
using cuda::SharedArena;

namespace {

struct Params {
  static constexpr cuda::KernelInfo kInfo{"probe", 32, 4096};
  Global<const uint32_t> a = nullptr, b = nullptr;
  Global<float> sums = nullptr;
  Global<int> counts = nullptr;
};

// PTX ISA, figure of A of m16n8k16 (bf16): (row, column) of a0..a7 in lane l.
int row_of_a(int lane, int i) { return lane / 4 + (i % 4 >= 2 ? 8 : 0); }
int column_of_a(int lane, int i) { return lane % 4 * 2 + i % 2 + (i >= 4 ? 8 : 0); }
// B: b0..b3.
int row_of_b(int lane, int i) { return lane % 4 * 2 + i % 2 + (i >= 2 ? 8 : 0); }
// A of m16n8k32 (s8): a0..a15; B: b0..b7.
int byte_row_of_a(int lane, int i) { return lane / 4 + (i % 8 >= 4 ? 8 : 0); }
int byte_column_of_a(int lane, int i) { return lane % 4 * 4 + i % 4 + (i >= 8 ? 16 : 0); }
int byte_row_of_b(int lane, int i) { return lane % 4 * 4 + i % 4 + (i >= 4 ? 16 : 0); }
// C and D of both: c0..c3.
int row_of_c(int lane, int i) { return lane / 4 + (i >= 2 ? 8 : 0); }
int column_of_c(int lane, int i) { return lane % 4 * 2 + i % 2; }

}  // namespace

CASE("mma_bf16 multiplies by the documented fragments and adds to what is there") {
  Random random(3);
  float a[16][16], b[16][8];
  for (auto& row : a)
    for (float& value : row) value = static_cast<float>(random.below(17) - 8);
  for (auto& row : b)
    for (float& value : row) value = static_cast<float>(random.below(17) - 8);
  std::vector<uint32_t> a_registers(32 * 4), b_registers(32 * 2);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 8; ++i) {
      a_registers[lane * 4 + i / 2] |= float_to_bf16(a[row_of_a(lane, i)][column_of_a(lane, i)]) << 16 * (i % 2);
    }
    for (int i = 0; i < 4; ++i) {
      b_registers[lane * 2 + i / 2] |= float_to_bf16(b[row_of_b(lane, i)][lane / 4]) << 16 * (i % 2);
    }
  }
  const auto kernel = [](Params p) {
    const int lane = static_cast<int>(threadIdx.x);
    uint32_t own_a[4], own_b[2];
    float d[4] = {100, 200, 300, 400};
    for (int i = 0; i < 4; ++i) own_a[i] = p.a[lane * 4 + i];
    for (int i = 0; i < 2; ++i) own_b[i] = p.b[lane * 2 + i];
    cuda::mma_bf16(d, own_a, own_b);
    for (int i = 0; i < 4; ++i) p.sums[lane * 4 + i] = d[i];
  };
  cuda::Stream stream;
  const cuda::DeviceBuffer device_a = on_device(stream, a_registers), device_b = on_device(stream, b_registers);
  const cuda::DeviceBuffer sums(128 * sizeof(float));
  cuda::launch(stream, +kernel, {}, 32, 0,
               {.a = device_a.as<const uint32_t>(), .b = device_b.as<const uint32_t>(), .sums = sums.as<float>()});
  const std::vector<float> got = on_host<float>(stream, sums);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      float expected = 100.0f * static_cast<float>(i + 1);
      for (int k = 0; k < 16; ++k) expected += a[row_of_c(lane, i)][k] * b[k][column_of_c(lane, i)];
      CHECK_EQ(got[lane * 4 + i], expected);
    }
  }
}

CASE("mma_s8 likewise, exactly") {
  Random random(4);
  int8_t a[16][32], b[32][8];
  for (auto& row : a)
    for (int8_t& value : row) value = static_cast<int8_t>(random.below(256) - 128);
  for (auto& row : b)
    for (int8_t& value : row) value = static_cast<int8_t>(random.below(256) - 128);
  std::vector<uint32_t> a_registers(32 * 4), b_registers(32 * 2);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 16; ++i) {
      const auto byte = static_cast<uint8_t>(a[byte_row_of_a(lane, i)][byte_column_of_a(lane, i)]);
      a_registers[lane * 4 + i / 4] |= static_cast<uint32_t>(byte) << 8 * (i % 4);
    }
    for (int i = 0; i < 8; ++i) {
      const auto byte = static_cast<uint8_t>(b[byte_row_of_b(lane, i)][lane / 4]);
      b_registers[lane * 2 + i / 4] |= static_cast<uint32_t>(byte) << 8 * (i % 4);
    }
  }
  const auto kernel = [](Params p) {
    const int lane = static_cast<int>(threadIdx.x);
    uint32_t own_a[4], own_b[2];
    int d[4] = {1, 2, 3, 4};
    for (int i = 0; i < 4; ++i) own_a[i] = p.a[lane * 4 + i];
    for (int i = 0; i < 2; ++i) own_b[i] = p.b[lane * 2 + i];
    cuda::mma_s8(d, own_a, own_b);
    for (int i = 0; i < 4; ++i) p.counts[lane * 4 + i] = d[i];
  };
  cuda::Stream stream;
  const cuda::DeviceBuffer device_a = on_device(stream, a_registers), device_b = on_device(stream, b_registers);
  const cuda::DeviceBuffer counts(128 * sizeof(int));
  cuda::launch(stream, +kernel, {}, 32, 0,
               {.a = device_a.as<const uint32_t>(), .b = device_b.as<const uint32_t>(), .counts = counts.as<int>()});
  const std::vector<int> got = on_host<int>(stream, counts);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      int expected = i + 1;
      for (int k = 0; k < 32; ++k) expected += a[row_of_c(lane, i)][k] * b[k][column_of_c(lane, i)];
      CHECK_EQ(got[lane * 4 + i], expected);
    }
  }
}

CASE("ldmatrix gives each lane two neighbours of row l/4, transposed two of column l/4") {
  const auto kernel = [](Params p) {
    SharedArena arena;
    const Shared<uint16_t> values = arena.take<uint16_t>(4 * 64);
    const int lane = static_cast<int>(threadIdx.x);
    for (int i = lane; i < 4 * 64; i += 32) values[i] = static_cast<uint16_t>(i);
    __syncwarp();
    uint32_t straight[4], across[4];
    cuda::ldmatrix_x4(straight, values + lane * 8);
    cuda::ldmatrix_x4_transposed(across, values + lane * 8);
    for (int i = 0; i < 4; ++i) {
      p.counts[lane * 8 + i] = static_cast<int>(straight[i]);
      p.counts[lane * 8 + 4 + i] = static_cast<int>(across[i]);
    }
  };
  cuda::Stream stream;
  const cuda::DeviceBuffer counts(32 * 8 * sizeof(int));
  cuda::launch(stream, +kernel, {}, 32, 512, {.counts = counts.as<int>()});
  const std::vector<int> got = on_host<int>(stream, counts);
  for (int lane = 0; lane < 32; ++lane) {
    for (int m = 0; m < 4; ++m) {
      const int first = m * 64 + lane / 4 * 8 + lane % 4 * 2;
      CHECK_EQ(got[lane * 8 + m], first | (first + 1) << 16);
      const int upper = m * 64 + lane % 4 * 16 + lane / 4;
      CHECK_EQ(got[lane * 8 + 4 + m], upper | (upper + 8) << 16);
    }
  }
}

CASE("dot4 multiplies signed bytes") {
  CHECK_EQ(cuda::dot4(static_cast<int>(0x80ff7f02u), static_cast<int>(0x80018003u), 5),
           5 + 2 * 3 + 127 * -128 + -1 * 1 + -128 * -128);
}

namespace {

// Four groups of one copy each; what can be read after a wait that leaves `pending` of them.
template <int pending>
void copies(Params p) {
  SharedArena arena;
  const Shared<uint32_t> values = arena.take<uint32_t>(16);
  if (threadIdx.x != 0) return;
  for (int i = 0; i < 4; ++i) {
    cuda::cp_async_16(values + i * 4, p.a + i * 4, i != 1);
    cuda::cp_async_commit();
  }
  cuda::cp_async_wait<pending>();
  for (int i = 0; i < 4; ++i) p.counts[i] = static_cast<int>(values[i * 4]);
  cuda::cp_async_wait<0>();
}

std::vector<int> after_copies(void (*kernel)(Params)) {
  cuda::Stream stream;
  const cuda::DeviceBuffer a = on_device(stream, std::vector<uint32_t>(16, 9)), counts(4 * sizeof(int));
  cuda::launch(stream, kernel, {}, 32, 64, {.a = a.as<const uint32_t>(), .counts = counts.as<int>()});
  return on_host<int>(stream, counts);
}

}  // namespace

CASE("asynchronous copies arrive at the wait for their group, are poison until then, and zeros where not wanted") {
  CHECK(after_copies(copies<0>) == (std::vector<int>{9, 0, 9, 9}));
  CHECK(after_copies(copies<2>) == (std::vector<int>{9, 0, -1, -1}));
  CHECK(after_copies(copies<4>) == (std::vector<int>{-1, -1, -1, -1}));
  CHECK_FAILS(after_copies([](Params p) {
                SharedArena arena;
                cuda::cp_async_16(arena.take<uint32_t>(4), p.a, true);
              }),
              Internal);
  CHECK_FAILS(after_copies([](Params p) {
                SharedArena arena;
                cuda::cp_async_16(arena.take<uint32_t>(8) + 1, p.a, true);
                cuda::cp_async_wait<0>();
              }),
              Internal);
}
