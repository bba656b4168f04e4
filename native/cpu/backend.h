// The CPU backend. Precision `ref`: fp32 throughout, sums of squares and of router probabilities in fp64, weights dequantised.
// Precision `fast`: the same, but products with the weights are those of cpu/fast_kernels.h; the router stays fp32. One op per file,
// named as in core/backend.h.
#pragma once

#include <initializer_list>
#include <memory>

#include "core/backend.h"
#include "core/weights.h"
#include "cpu/arch/kernels.h"
#include "cpu/fast_kernels.h"
#include "cpu/grouping.h"
#include "cpu/matmul.h"
#include "cpu/profile_span.h"
#include "cpu/thread_pool.h"

namespace moescope {

class CpuBackend final : public Backend {
 public:
  // `config` and `weights` must outlive the backend. `fast`: null for precision `ref`.
  CpuBackend(const ModelConfig& config, const Weights& weights, int num_threads, const Kernels& kernels,
             const FastKernels* fast = nullptr);

  Activations activations(int rows) override;
  void embed(const Batch& batch, float* x) override;
  void load_inputs(const Batch& batch, float* x) override;
  void attend(int layer, const Batch& batch, float* x) override;
  void route(int layer, const Batch& batch, const float* x, float* h, Routes& routes, const Taps& taps) override;
  void experts(int layer, const Batch& batch, float* x, const float* h, const Routes& routes,
               const Taps& taps) override;
  void feed_forward(int layer, int rows, float* x) override;
  void head(const Batch& batch, const float* x, const std::vector<HeadRequest>& requests, const Taps& taps) override;
  void read_rows(const float* x, int first, int count, float* host) override;
  void write_rows(const float* host, int first, int count, float* x) override;
  void set_cancel(const std::atomic<bool>* cancel) override { pool_.set_cancel(cancel); }
  void set_profile(Profile* profile) override;

 private:
  // Parts of an op that add their time to the profile, if there is one.
  ProfileSpan profile_span(int layer) { return {profile_, pool_, layer}; }
  // Bytes and products of `rows` rows times these matrices.
  static ProfileWork work_of(int64_t rows, std::initializer_list<const Matrix*> matrices);
  // Bytes and products of attention: every key and value of a run once.
  ProfileWork attention_work(const Batch& batch) const;

  // out = x / rms(x) * weight, (hidden) each.
  void rms_norm(const float* x, const std::vector<float>& weight, float* out) const;

  // y = x W^T, then y += bias, then residual += y where there are such.
  struct Product {
    MatmulInput x;
    const Matrix* w;
    float* y;                                  // (rows, w.rows)
    const std::vector<float>* bias = nullptr;  // (w.rows)
    float* residual = nullptr;                 // (rows, w.rows)
  };
  // All tiles of all products, divided among the threads.
  void multiply(std::initializer_list<Product> products);
  InputForms forms_of(std::initializer_list<const Matrix*> matrices) const;

  // What the experts of a layer want: their types need not be the same.
  struct ExpertForms {
    InputForms in, out;
  };
  std::vector<ExpertForms> expert_forms() const;

  // Calls work(row) for each row, then fills its block of the left side.
  template <typename Work>
  void fill(LeftSide& side, const Work& work) {
    pool_.parallel_for(side.num_blocks(), [&](int64_t index, int) {
      const LeftSide::Block& block = side.block(index);
      for (int64_t row = block.first; row < block.first + block.count; ++row) work(row);
      side.fill(index);
    });
  }

  // Fills the left sides of the routed and of the shared expert, if there is one.
  void fill_both(LeftSide& experts, LeftSide& shared, bool has_shared);

  // out = down(silu(gate x) * (up x)) for rows that meet the same matrices.
  struct GatedRows {
    const FeedForward* ffn;
    MatmulInput x;
    LeftSide* inner;            // of the product with `down`
    int64_t first;              // row of `inner`
    float* gate;                // (rows, intermediate): gate x, then silu(gate x) * (up x)
    float* up;                  // (rows, intermediate)
    float* out;                 // (rows, hidden)
    float* residual = nullptr;  // (rows, hidden): `out` is added to it
  };
  // gate and up of all groups.
  void gated_in(const std::vector<GatedRows>& groups);
  // down of all groups; their left sides are filled.
  void gated_out(const std::vector<GatedRows>& groups);

  // Rotates q and k, scales q, and writes k and v to the cache.
  void rope_and_cache(int layer, const Batch& batch);
  void attention(int layer, const Batch& batch);
  struct AttentionPass;
  // Callbacks on the outputs of the experts that just ran.
  void call_back_outputs(int layer, const ExpertGrouping& grouping, bool has_shared, const Taps& taps);
  // Norms and contributions of the experts that just ran, where a tap wants them.
  void watch_experts(int layer, const Batch& batch, const Routes& routes, const ExpertGrouping& grouping,
                     const Taps& taps);
  void sum_experts(int moe_layer, const Routes& routes, const ExpertGrouping& grouping,
                   const std::vector<double>& norms, Contributions& sums);
  void sum_shared(int moe_layer, const Routes& routes, const ExpertGrouping& grouping,
                  const std::vector<double>& shared_norms, Contributions& sums);

  const ModelConfig& config_;
  const Weights& weights_;
  const Kernels& kernels_;
  const MatmulKernels matmul_kernels_;
  ThreadPool pool_;
  Profile* profile_ = nullptr;
  const std::vector<ExpertForms> expert_forms_;  // by layer
  std::vector<Scratch> scratch_;                 // by thread
  LeftSide rows_side_;                           // of the rows of a batch
  LeftSide expert_side_;                         // of assignments, grouped by expert
  LeftSide inner_side_, expert_inner_side_;      // of the same, between gate and down

  std::vector<float> x_, h_;                      // (rows, hidden)
  std::vector<float> normed_, block_out_;         // (rows, hidden)
  std::vector<float> q_, context_;                // (rows, heads * head_dim)
  std::vector<float> partials_;                   // of attention, where threads divide a long context
  std::vector<float> k_, v_;                      // (rows, kv_heads * head_dim)
  std::vector<float> inner_;                      // (2 * rows, intermediate)
  std::vector<float> expert_inner_, expert_out_;  // by assignment, grouped by expert
  std::vector<float> shared_out_;                 // (rows, hidden)
  std::vector<float> router_logits_;              // (rows, experts)  raw
  std::vector<float> effective_logits_;           // (rows, experts)  as callbacks left them
  std::vector<float> head_rows_;                  // (rows with requests, hidden)
  std::vector<float> logits_;                     // (rows with requests, vocab)
};

}  // namespace moescope
