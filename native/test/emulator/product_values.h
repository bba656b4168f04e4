// Matrices and activations on the emulated device, for tests of products.
#pragma once

#include <cmath>
#include <cstdlib>

#include "block.h"
#include "cuda/pack.h"
#include "cuda/product.h"
#include "cuda/rms_norm.h"
#include "device_values.h"
#include "test/random_blocks.h"

namespace moescope::check {

inline std::vector<DType> packed_types() {
  std::vector<DType> types;
  for (DType type : all_types()) {
    if (cuda::can_pack(type)) types.push_back(type);
  }
  return types;
}

// A random matrix as in a file, its values, and packed.
struct DeviceMatrix {
  std::vector<float> values;  // (rows, cols)
  cuda::DeviceBuffer memory;
  cuda::PackedMatrix packed;
};

inline DeviceMatrix device_matrix(cuda::Stream& stream, DType type, const std::vector<uint8_t>& blocks, int rows,
                                  int cols, cuda::RowOrder order = {}) {
  const BlockShape block = block_shape(type);
  DeviceMatrix matrix;
  matrix.values.resize(static_cast<size_t>(rows) * cols);
  dequantize_row(type, blocks.data(), matrix.values.data(), static_cast<int64_t>(matrix.values.size()));
  const cuda::DeviceBuffer file = on_device(stream, blocks);
  matrix.memory = cuda::DeviceBuffer(cuda::packed_bytes(type, rows, cols));
  cuda::fill_bytes(stream, matrix.memory.data(), 0, matrix.memory.bytes());
  cuda::PackParams params;
  params.type = type;
  params.rows = file.as<const uint8_t>();
  params.row_bytes = static_cast<int64_t>(cols) / block.elements * block.bytes;
  params.num_rows = rows;
  params.cols = cols;
  params.order = order;
  params.packed = matrix.memory.as<uint8_t>();
  cuda::pack(stream, params);
  stream.synchronize();
  matrix.packed.type = type;
  matrix.packed.data = matrix.memory.as<const uint8_t>();
  matrix.packed.rows = rows;
  matrix.packed.cols = cols;
  return matrix;
}

inline DeviceMatrix random_matrix(cuda::Stream& stream, DType type, int rows, int cols, Random& random,
                                  cuda::RowOrder order = {}) {
  return device_matrix(stream, type, random_blocks(type, rows, cols, random, 4.0f), rows, cols, order);
}

// Room for rows of activations in every form.
struct DeviceSide {
  cuda::DeviceBuffer q, scales, high, low, floats;
  cuda::LeftSide side;

  DeviceSide(int rows, int cols) {
    side.quads = cuda::num_quads(cols);
    const size_t elements = static_cast<size_t>(rows) * side.quads * cuda::kQuad;
    q = cuda::DeviceBuffer(elements);
    scales = cuda::DeviceBuffer(elements / cuda::kUnit * 2 * sizeof(float));
    high = cuda::DeviceBuffer(elements * 2);
    low = cuda::DeviceBuffer(elements * 2);
    floats = cuda::DeviceBuffer(elements * 4);
    side.q = q.as<int8_t>();
    side.scales = scales.as<float>();
    side.high = high.as<uint16_t>();
    side.low = low.as<uint16_t>();
    side.floats = floats.as<float>();
  }
};

inline DeviceSide device_side(cuda::Stream& stream, const std::vector<float>& x, int rows, int cols) {
  DeviceSide side(rows, cols);
  const cuda::DeviceBuffer source = on_device(stream, x);
  cuda::QuantizeParams params;
  params.x = source.as<const float>();
  params.length = cols;
  params.side = side.side;
  cuda::quantize(stream, rows, params);
  stream.synchronize();
  return side;
}

// The exact product of a row of weights and a row of activations, and what the device may differ by.
struct Expected {
  double value = 0, tolerance = 0;
};

inline Expected expected_product(DType type, const float* w, const float* x, int cols) {
  constexpr double kRound = 0x1p-24;
  Expected out;
  double rounding = 0, magnitude = 0;
  for (int start = 0; start < cols; start += cuda::kUnit) {
    const int end = std::min(cols, start + cuda::kUnit);
    double largest = 0, weights = 0;
    for (int i = start; i < end; ++i) {
      out.value += static_cast<double>(w[i]) * x[i];
      magnitude += std::abs(static_cast<double>(w[i]) * x[i]);
      largest = std::max(largest, std::abs(static_cast<double>(x[i])));
      weights += std::abs(w[i]);
    }
    // Half a step of 8 bits, and a step's worth of fp32 in the scale and in the quotient.
    rounding += largest / 127 * (0.5 + 1e-4) * weights;
  }
  if (type == DType::F32) out.tolerance = (cols + cuda::kChains) * kRound * magnitude;
  if (type == DType::BF16) out.tolerance = (0x1p-8 + (cols + cuda::kChains) * kRound) * magnitude;
  // The rest after two bf16, and the product of the two low parts that is left out.
  if (type == DType::F16) out.tolerance = (0x1p-15 + (3 * cols + cuda::kChains) * kRound) * magnitude;
  if (cuda::is_integer_type(type)) {
    // Codes and minimum of a unit are apart in the sum: where they cancel, both were larger than the weight. Q4_K and Q5_K hold up to
    // 63 d 31 - 63 dmin, so `magnitude` may be too small by the ratio of code to weight: bounded by the largest weight of the row.
    double heaviest = 0, activations = 0;
    for (int i = 0; i < cols; ++i) heaviest = std::max<double>(heaviest, std::abs(w[i])), activations += std::abs(x[i]);
    out.tolerance = rounding + (2 * cols / 32.0 + cuda::kChains + 3) * kRound * 64 * heaviest * activations;
  }
  return out;
}

}  // namespace moescope::check
