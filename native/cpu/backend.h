// The CPU backend. Precision `ref`: fp32 throughout, sums of squares and of router probabilities in fp64, weights dequantised.
// Precision `fast`: the same, but products with quantised weights are integer dot products on activations rounded to 8 bits; the
// router stays fp32. One op per file, named as in core/backend.h.
#pragma once

#include <initializer_list>
#include <memory>

#include "core/backend.h"
#include "core/weights.h"
#include "cpu/arch/kernels.h"
#include "cpu/matmul.h"
#include "cpu/profile_span.h"
#include "cpu/thread_pool.h"

namespace moescope {

class CpuBackend final : public Backend {
 public:
  // `config` and `weights` must outlive the backend. `int_kernels`: null for precision `ref`.
  CpuBackend(const ModelConfig& config, const Weights& weights, int num_threads, const Kernels& kernels,
             const IntKernels* int_kernels = nullptr);

  Activations activations(int rows) override;
  void embed(const Batch& batch, float* x) override;
  void attend(int layer, const Batch& batch, float* x) override;
  void route(int layer, const Batch& batch, const float* x, float* h, Routes& routes, const Taps& taps) override;
  void experts(int layer, int rows, float* x, const float* h, const Routes& routes) override;
  void feed_forward(int layer, int rows, float* x) override;
  void head(const float* x, const std::vector<HeadRequest>& requests) override;
  void read_back(const float* x, int rows, float* host) override;
  void set_cancel(const std::atomic<bool>* cancel) override { pool_.set_cancel(cancel); }
  void set_profile(Profile* profile) override;

 private:
  // Parts of an op that add their time to the profile, if there is one.
  ProfileSpan profile_span(int layer) { return {profile_, pool_, layer}; }
  // Bytes and products of `rows` rows times these matrices.
  static ProfileWork work_of(int64_t rows, std::initializer_list<const Matrix*> matrices);
  // Bytes and products of attention: every key and value of a run once.
  ProfileWork attention_work(const Batch& batch) const;

  // out = x / rms(x) * weight, row by row.
  void rms_norm(const float* x, int rows, const std::vector<float>& weight, float* out);
  // y = x W^T (+ bias) over all tiles and threads. `bias`: (w.rows) or empty.
  void matmul(const float* x, int rows, const Matrix& w, const std::vector<float>& bias, float* y);
  // x as a left side for `w`; its integers, if wanted, are made in `room`.
  MatmulInput input_for(const Matrix& w, const float* x, int64_t rows, IntRows& room);
  MatmulInput input_for_experts(const std::vector<FeedForward>& experts,
                                std::initializer_list<Matrix FeedForward::*> parts, const float* x, int64_t rows);
  // Rotates q and k, scales q, and writes k and v to the cache.
  void rope_and_cache(int layer, const Batch& batch);
  void attention(int layer, const Batch& batch);
  // out = down(silu(gate x) * (up x)); `inner`: room for (2 * rows, intermediate).
  void dense_ffn(const FeedForward& ffn, const float* x, int rows, std::vector<float>& inner, float* out);
  void add_rows(const float* addend, int rows, float* x);

  const ModelConfig& config_;
  const Weights& weights_;
  const Kernels& kernels_;
  const MatmulKernels matmul_kernels_;
  ThreadPool pool_;
  Profile* profile_ = nullptr;
  std::vector<Scratch> scratch_;  // by thread
  IntRows int_rows_;

  std::vector<float> x_, h_;                                  // (rows, hidden)
  std::vector<float> normed_, block_out_;                     // (rows, hidden)
  std::vector<float> q_, context_;                            // (rows, heads * head_dim)
  std::vector<float> k_, v_;                                  // (rows, kv_heads * head_dim)
  std::vector<float> inner_;                                  // (2 * rows, intermediate)
  std::vector<float> expert_in_, expert_inner_, expert_out_;  // by assignment, grouped by expert
  std::vector<float> shared_out_;                             // (rows, hidden)
};

}  // namespace moescope
