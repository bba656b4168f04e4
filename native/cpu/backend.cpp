#include "cpu/backend.h"

#include <algorithm>
#include <cstring>

#include "core/devices.h"

namespace moescope {

CpuBackend::CpuBackend(const ModelConfig& config, const Weights& weights, int num_threads, const Kernels& kernels,
                       const FastKernels* fast)
    : config_(config),
      weights_(weights),
      kernels_(kernels),
      matmul_kernels_{kernels, fast},
      pool_(num_threads),
      expert_forms_(expert_forms()),
      scratch_(pool_.num_threads()) {}

std::unique_ptr<Backend> make_cpu_backend(const ModelConfig& config, const Weights& weights, int num_threads,
                                          Precision precision) {
  const FastKernels* fast = precision == Precision::Fast ? &chosen_fast_kernels() : nullptr;
  return std::make_unique<CpuBackend>(config, weights, num_threads, best_kernels(), fast);
}

const char* cpu_instruction_set(Precision precision) {
  return precision == Precision::Fast ? chosen_fast_kernels().name : best_kernels().name;
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

InputForms CpuBackend::forms_of(std::initializer_list<const Matrix*> matrices) const {
  InputForms forms;
  for (const Matrix* matrix : matrices) forms.add(matmul_kernels_, *matrix);
  return forms;
}

std::vector<CpuBackend::ExpertForms> CpuBackend::expert_forms() const {
  std::vector<ExpertForms> forms(weights_.layers.size());
  for (size_t layer = 0; layer < forms.size(); ++layer) {
    for (const FeedForward& ffn : weights_.layers[layer].experts) {
      for (const Matrix* matrix : {&ffn.gate, &ffn.up}) forms[layer].in.add(matmul_kernels_, *matrix);
      forms[layer].out.add(matmul_kernels_, ffn.down);
    }
  }
  return forms;
}

void CpuBackend::multiply(std::initializer_list<Product> products) {
  int64_t total = 0;
  for (const Product& product : products) total += num_items(*product.w, product.x.num_rows);
  pool_.parallel_for(total, [&](int64_t item, int thread) {
    const Product* product = products.begin();
    for (int64_t items; item >= (items = num_items(*product->w, product->x.num_rows)); ++product) item -= items;
    const Matrix& w = *product->w;
    const RowRange range = item_rows(w, product->x.num_rows, item);
    matmul_rows(matmul_kernels_, product->x, w, range, scratch_[thread], product->y);
    for (int64_t row = 0; row < product->x.num_rows; ++row) {
      const int64_t start = row * w.rows;
      float* y = product->y + start;
      if (product->bias != nullptr) {
        for (int64_t i = range.first; i < range.end; ++i) y[i] += (*product->bias)[i];
      }
      if (product->residual == nullptr) continue;
      for (int64_t i = range.first; i < range.end; ++i) product->residual[start + i] += y[i];
    }
  });
}

void CpuBackend::load_inputs(const Batch& batch, float* x) {
  for (size_t row = 0; row < batch.inputs.size(); ++row) {
    std::copy_n(batch.inputs[row], config_.hidden_size, x + row * config_.hidden_size);
  }
}

void CpuBackend::read_rows(const float* x, int first, int count, float* host) {
  const int64_t hidden = config_.hidden_size;
  std::copy_n(x + first * hidden, count * hidden, host);
}

void CpuBackend::write_rows(const float* host, int first, int count, float* x) {
  const int64_t hidden = config_.hidden_size;
  std::copy_n(host, count * hidden, x + first * hidden);
}

}  // namespace moescope
