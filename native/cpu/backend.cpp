#include "cpu/backend.h"

#include <algorithm>
#include <cstring>

#include "core/devices.h"

namespace moescope {

CpuBackend::CpuBackend(const ModelConfig& config, const Weights& weights, int num_threads, const Kernels& kernels,
                       const IntKernels* int_kernels)
    : config_(config),
      weights_(weights),
      kernels_(kernels),
      matmul_kernels_{kernels, int_kernels},
      pool_(num_threads),
      scratch_(pool_.num_threads()) {}

std::unique_ptr<Backend> make_cpu_backend(const ModelConfig& config, const Weights& weights, int num_threads,
                                          Precision precision) {
  const IntKernels* int_kernels = precision == Precision::Fast ? &best_int_kernels() : nullptr;
  return std::make_unique<CpuBackend>(config, weights, num_threads, best_kernels(), int_kernels);
}

const char* cpu_instruction_set(Precision precision) {
  return precision == Precision::Fast ? best_int_kernels().name : best_kernels().name;
}

Backend::Activations CpuBackend::activations(int rows) {
  const size_t size = static_cast<size_t>(rows) * config_.hidden_size;
  for (std::vector<float>* buffer : {&x_, &h_, &normed_, &block_out_}) {
    if (buffer->size() < size) buffer->resize(size);
  }
  return {x_.data(), h_.data()};
}

void CpuBackend::set_profile(Profile* profile) {
  profile_ = profile;
  pool_.set_measured(profile != nullptr);
}

ProfileWork CpuBackend::work_of(int64_t rows, std::initializer_list<const Matrix*> matrices) {
  ProfileWork work;
  for (const Matrix* matrix : matrices) {
    work += {matrix->rows * matrix->row_bytes, rows * matrix->rows * matrix->cols};
  }
  return work;
}

void CpuBackend::embed(const Batch& batch, float* x) {
  const int64_t num_rows = static_cast<int64_t>(batch.rows.size());
  ProfileSpan span = profile_span(kOutsideLayers);
  span.begin(ProfileOp::Embed, [&] { return ProfileWork{num_rows * weights_.embed.row_bytes, 0}; });
  pool_.parallel_for(num_rows, [&](int64_t row, int) {
    const Matrix& table = weights_.embed;
    dequantize_row(table.dtype, table.row(batch.rows[row].token), x + row * table.cols, table.cols);
  });
}

void CpuBackend::matmul(const float* x, int rows, const Matrix& w, const std::vector<float>& bias, float* y) {
  const MatmulInput input = input_for(w, x, rows, int_rows_);
  pool_.parallel_for(num_tiles(w), [&](int64_t tile, int thread) {
    matmul_tile(matmul_kernels_, input, w, tile, scratch_[thread], y);
    if (bias.empty()) return;
    const int64_t end = std::min<int64_t>(w.rows, (tile + 1) * kTileRows);
    for (int row = 0; row < rows; ++row) {
      for (int64_t column = tile * kTileRows; column < end; ++column) y[row * w.rows + column] += bias[column];
    }
  });
}

MatmulInput CpuBackend::input_for(const Matrix& w, const float* x, int64_t rows, IntRows& room) {
  if (!matmul_kernels_.wants_integers(w)) return {x, nullptr, static_cast<int>(rows)};
  room.quantize(pool_, *matmul_kernels_.integers, x, rows, w.cols);
  return {x, room.rows(), static_cast<int>(rows)};
}

void CpuBackend::add_rows(const float* addend, int rows, float* x) {
  pool_.parallel_for(rows, [&](int64_t row, int) {
    const int64_t start = row * config_.hidden_size;
    for (int64_t i = start; i < start + config_.hidden_size; ++i) x[i] += addend[i];
  });
}

void CpuBackend::read_back(const float* x, int rows, float* host) {
  std::memcpy(host, x, static_cast<size_t>(rows) * config_.hidden_size * sizeof(float));
}

}  // namespace moescope
