#include "core/quantize.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "core/error.h"
#include "core/quantize_rows.h"

namespace moescope {
namespace {

// Beyond what any block type can hold (2^16 * 2^7 * 2^5), and small enough that the sum of 256 squares is finite.
constexpr float kBeyondAll = 1e9f;

make_block::BlockFunction* maker_of(DType type) {
  switch (type) {
    case DType::Q4_0: return make_block::q4_0;
    case DType::Q4_1: return make_block::q4_1;
    case DType::Q5_0: return make_block::q5_0;
    case DType::Q5_1: return make_block::q5_1;
    case DType::Q8_0: return make_block::q8_0;
    case DType::Q2_K: return make_block::q2_k;
    case DType::Q3_K: return make_block::q3_k;
    case DType::Q4_K: return make_block::q4_k;
    case DType::Q5_K: return make_block::q5_k;
    case DType::Q6_K: return make_block::q6_k;
    case DType::IQ4_NL: return make_block::iq4_nl;
    case DType::IQ4_XS: return make_block::iq4_xs;
    default: return nullptr;
  }
}

bool is_float(DType type) { return type == DType::F32 || type == DType::F16 || type == DType::BF16; }

// What is wrong with a value for a type, or nothing.
const char* fault_of(float value, DType type) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return "an infinity";
  if (type == DType::F16 && std::abs(value) >= 65520.0f) return "a number too large for F16";
  if (type == DType::BF16 && !std::isfinite(bf16_to_float(float_to_bf16(value)))) return "a number too large for BF16";
  return nullptr;
}

// Column of the first value that the type cannot take. Nearly always there is none, so the first pass has no branches.
std::optional<int64_t> first_fault(const float* values, int64_t elements, DType type) {
  const float limit = type == DType::F16 ? 65519.0f : type == DType::BF16 ? 3.3e38f : std::numeric_limits<float>::max();
  uint32_t faults = 0;
  for (int64_t i = 0; i < elements; ++i) faults += std::abs(values[i]) <= limit ? 0u : 1u;
  if (faults == 0) return std::nullopt;
  for (int64_t i = 0; i < elements; ++i) {
    if (fault_of(values[i], type) != nullptr) return i;
  }
  return std::nullopt;
}

void store_floats(DType type, const float* values, uint8_t* target, int64_t elements) {
  if (type == DType::F32) {
    std::memcpy(target, values, static_cast<size_t>(elements) * sizeof *values);
    return;
  }
  for (int64_t i = 0; i < elements; ++i) {
    const uint16_t bits = type == DType::F16 ? float_to_half(values[i]) : float_to_bf16(values[i]);
    std::memcpy(target + 2 * i, &bits, sizeof bits);
  }
}

void store_row(DType type, const float* values, uint8_t* target, int64_t elements) {
  if (is_float(type)) return store_floats(type, values, target, elements);
  const BlockShape shape = block_shape(type);
  make_block::BlockFunction* make = maker_of(type);
  std::array<float, 256> bounded;
  for (int64_t block = 0; block < elements / shape.elements; ++block) {
    const float* x = values + block * shape.elements;
    std::transform(x, x + shape.elements, bounded.begin(),
                   [](float value) { return std::clamp(value, -kBeyondAll, kBeyondAll); });
    make(bounded.data(), target + block * shape.bytes);
  }
}

void check_target(DType type, int64_t elements) {
  if (!can_quantize(type)) fail(ErrorCode::Unsupported, "Weights cannot be quantised to ", dtype_name(type), ".");
  const int block = block_shape(type).elements;
  if (elements < 0 || elements % block != 0) {
    fail(ErrorCode::InvalidArgument, "Expected a multiple of ", block, " elements for a row of ", dtype_name(type),
         ", got ", elements, ".");
  }
}

// Calls work(row) for every row; threads claim rows one at a time. The first error, in order of rows seen, is thrown here.
template <typename Work>
void each_row(int64_t rows, int threads, const Work& work) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto claim = [&] {
    try {
      std::vector<float> values;
      for (int64_t row = next++; row < rows; row = next++) work(row, values);
    } catch (...) {
      next = rows;
      const std::lock_guard<std::mutex> lock(mutex);
      if (!error) error = std::current_exception();
    }
  };
  std::vector<std::thread> helpers;
  try {
    for (int64_t i = 1; i < std::min<int64_t>(threads, rows); ++i) helpers.emplace_back(claim);
  } catch (const std::system_error&) {
    // Fewer threads than asked for do the same work.
  }
  claim();
  for (std::thread& helper : helpers) helper.join();
  if (error) std::rethrow_exception(error);
}

int64_t row_bytes(DType type, int64_t cols) {
  const BlockShape shape = block_shape(type);
  return cols / shape.elements * shape.bytes;
}

}  // namespace

bool can_quantize(DType type) { return is_float(type) || maker_of(type) != nullptr; }

void quantize_row(DType type, const float* values, void* blocks, int64_t elements) {
  check_target(type, elements);
  if (const auto at = first_fault(values, elements, type)) {
    fail(ErrorCode::BadFile, "Expected finite weights, got ", fault_of(values[*at], type), " in column ", *at, ".");
  }
  store_row(type, values, static_cast<uint8_t*>(blocks), elements);
}

std::vector<uint8_t> convert_rows(DType from, const std::vector<uint8_t>& source, DType to, int64_t cols,
                                  int64_t first_row, int threads) {
  if (from != to) check_target(to, cols);
  if (cols <= 0 || cols % block_shape(from).elements != 0 ||
      source.size() % static_cast<size_t>(row_bytes(from, cols)) != 0) {
    fail(ErrorCode::InvalidArgument, "Expected whole rows of ", cols, " weights in ", dtype_name(from), ", got ",
         source.size(), " bytes.");
  }
  if (from == to && !is_float(from)) return source;
  const int64_t from_bytes = row_bytes(from, cols);
  const int64_t to_bytes = row_bytes(to, cols);
  const int64_t rows = static_cast<int64_t>(source.size()) / from_bytes;
  std::vector<uint8_t> target(static_cast<size_t>(rows * to_bytes));
  each_row(rows, threads, [&](int64_t row, std::vector<float>& values) {
    values.resize(static_cast<size_t>(cols));
    dequantize_row(from, source.data() + row * from_bytes, values.data(), cols);
    if (const auto at = first_fault(values.data(), cols, to)) {
      fail(ErrorCode::BadFile, "Expected finite weights, got ", fault_of(values[static_cast<size_t>(*at)], to),
           " in row ", first_row + row, ", column ", *at, ".");
    }
    store_row(to, values.data(), target.data() + row * to_bytes, cols);
  });
  return target;
}

}  // namespace moescope
