#include "cuda/weights.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace moescope::cuda {

namespace {

// The driver hands out memory in units of 2 MiB: matrices share slabs. Under the emulator each is an allocation of its own, so that
// reading past one is seen.
#ifdef MOESCOPE_EMULATED
constexpr size_t kSlabBytes = 0;
#else
constexpr size_t kSlabBytes = 256 << 20;
#endif
constexpr size_t kMatrixAlignment = 256;

}  // namespace

// Streams matrices through two pairs of staging buffers: while the card packs one part, the next is read from its file.
class WeightLoader {
 public:
  explicit WeightLoader(DeviceWeights& to) : to_(to) {
    for (Stage& stage : stages_) stage.host = PinnedBuffer(kStageBytes), stage.device = DeviceBuffer(kStageBytes);
  }

  // The matrix packed, its rows in `order`.
  PackedMatrix pack_matrix(const Matrix& matrix, RowOrder order = {});
  PackedFeedForward pack_feed_forward(const FeedForward& from) {
    return {pack_matrix(from.gate), pack_matrix(from.up), pack_matrix(from.down)};
  }
  // Rows as they are.
  Global<const uint8_t> copy_rows(const Matrix& matrix);
  template <typename T>
  Global<const T> copy_values(const std::vector<T>& values);

  void finish() { stream_.synchronize(); }

 private:
  static constexpr size_t kStageBytes = 64 << 20;
  struct Stage {
    PinnedBuffer host;
    DeviceBuffer device;
    Event packed;
    bool is_used = false;
  };

  // Memory that lives as long as the weights.
  std::byte* take(size_t bytes);
  // The next pair of buffers, with `bytes` of `data` in both.
  Stage& stage(const void* data, size_t bytes);

  DeviceWeights& to_;
  Stream stream_;
  Stage stages_[2];
  int next_ = 0;
  size_t slab_left_ = 0;  // of the last buffer
};

std::byte* WeightLoader::take(size_t bytes) {
  const size_t spaced = (bytes + kMatrixAlignment - 1) / kMatrixAlignment * kMatrixAlignment;
  if (spaced > slab_left_) {
    slab_left_ = std::max(spaced, kSlabBytes);
    to_.buffers_.emplace_back(kSlabBytes == 0 ? bytes : slab_left_);
    to_.bytes_ += slab_left_;
  }
  const DeviceBuffer& slab = to_.buffers_.back();
  std::byte* place = static_cast<std::byte*>(slab.data()) + (kSlabBytes == 0 ? 0 : slab.bytes() - slab_left_);
  slab_left_ -= spaced;
  return place;
}

WeightLoader::Stage& WeightLoader::stage(const void* data, size_t bytes) {
  Stage& stage = stages_[next_];
  next_ = 1 - next_;
  if (stage.is_used) stage.packed.synchronize();
  stage.is_used = true;
  std::memcpy(stage.host.as<std::byte>(), data, bytes);
  copy_to_device(stream_, stage.device.data(), stage.host.as<std::byte>(), bytes);
  return stage;
}

PackedMatrix WeightLoader::pack_matrix(const Matrix& matrix, RowOrder order) {
  if (matrix.empty()) return {};
  if (!can_pack(matrix.dtype)) {
    fail(ErrorCode::Unsupported, "Device cuda has no products with weights of type ", dtype_name(matrix.dtype),
         ": use device cpu, or a file of another type.");
  }
  const int cols = static_cast<int>(matrix.cols);
  const int64_t group = group_bytes(matrix.dtype, num_quads(cols));
  const size_t bytes = static_cast<size_t>(packed_bytes(matrix.dtype, matrix.rows, matrix.cols));
  uint8_t* packed = reinterpret_cast<uint8_t*>(take(bytes));
  fill_bytes(stream_, packed, 0, bytes);

  // Parts of whole pairs of groups, and of whole heads where rope pairs their rows.
  int64_t step = kPairRows;
  while (order.head_dim != 0 && step % order.head_dim != 0) step += kPairRows;
  const int64_t fitting = static_cast<int64_t>(kStageBytes) / matrix.row_bytes / step * step;
  if (fitting == 0) {
    fail(ErrorCode::Unsupported, "Device cuda takes rows of at most ", kStageBytes / step, " bytes, got ",
         matrix.row_bytes, ".");
  }
  for (int64_t first = 0; first < matrix.rows; first += fitting) {
    const int64_t rows = std::min(fitting, matrix.rows - first);
    Stage& part = stage(matrix.row(first), static_cast<size_t>(rows * matrix.row_bytes));
    pack(stream_, {.type = matrix.dtype,
                   .rows = part.device.as<const uint8_t>(),
                   .row_bytes = matrix.row_bytes,
                   .num_rows = static_cast<int>(rows),
                   .cols = cols,
                   .order = order,
                   .packed = Global<uint8_t>(packed + first / kGroupRows * group)});
    part.packed.record(stream_);
  }
  return {matrix.dtype, Global<const uint8_t>(packed), static_cast<int>(matrix.rows), cols};
}

Global<const uint8_t> WeightLoader::copy_rows(const Matrix& matrix) {
  const size_t bytes = static_cast<size_t>(matrix.rows * matrix.row_bytes);
  std::byte* rows = take(bytes);
  for (size_t first = 0; first < bytes; first += kStageBytes) {
    const size_t count = std::min(kStageBytes, bytes - first);
    Stage& part = stage(matrix.data + first, count);
    copy_on_device(stream_, rows + first, part.device.data(), count);
    part.packed.record(stream_);
  }
  return Global<const uint8_t>(reinterpret_cast<uint8_t*>(rows));
}

template <typename T>
Global<const T> WeightLoader::copy_values(const std::vector<T>& values) {
  if (values.empty()) return nullptr;
  const Matrix bytes{DType::F32, reinterpret_cast<const std::byte*>(values.data()), 1, 0,
                     static_cast<int64_t>(values.size() * sizeof(T))};
  return as<const T>(copy_rows(bytes));
}

DeviceWeights::DeviceWeights(const ModelConfig& config, const Weights& weights) {
  WeightLoader loader(*this);
  embed = {weights.embed.dtype, loader.copy_rows(weights.embed), weights.embed.row_bytes};
  const RowOrder pairs{config.head_dim, config.rope_layout == RopeLayout::Interleaved};
  for (const LayerWeights& from : weights.layers) {
    DeviceLayer& layer = layers.emplace_back();
    layer.attn_norm = loader.copy_values(from.attn_norm);
    layer.q = loader.pack_matrix(from.q, pairs);
    layer.k = loader.pack_matrix(from.k, pairs);
    layer.v = loader.pack_matrix(from.v);
    layer.o = loader.pack_matrix(from.o);
    layer.q_bias = loader.copy_values(from.q_bias);
    layer.k_bias = loader.copy_values(from.k_bias);
    layer.v_bias = loader.copy_values(from.v_bias);
    layer.ffn_norm = loader.copy_values(from.ffn_norm);
    layer.dense = loader.pack_feed_forward(from.dense);
    layer.router = loader.copy_values(from.router);
    std::vector<PackedFeedForward> experts;
    for (const FeedForward& expert : from.experts) experts.push_back(loader.pack_feed_forward(expert));
    layer.experts = loader.copy_values(experts);
    layer.shared = loader.pack_feed_forward(from.shared);
    layer.has_mixed_experts = layer.shared.gate.type != layer.shared.up.type ||
                              std::any_of(experts.begin(), experts.end(), [](const PackedFeedForward& expert) {
                                return expert.gate.type != expert.up.type;
                              });
    layer.shared_gate = loader.copy_values(from.shared_gate);
  }
  final_norm = loader.copy_values(weights.final_norm);
  head = loader.pack_matrix(weights.head);
  loader.finish();
}

}  // namespace moescope::cuda
