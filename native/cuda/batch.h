// What the kernels of a step must know of its rows, put on the device once before the first op.
#pragma once

#include <vector>

#include "core/backend.h"
#include "cuda/attend.h"
#include "cuda/route.h"
#include "cuda/workspace.h"

namespace moescope::cuda {

class DeviceBatch {
 public:
  // Enqueues the copies.
  void prepare(Stream& stream, const ModelConfig& config, const Batch& batch);

  int rows() const { return rows_; }
  Global<const int32_t> tokens() const { return tokens_.as<const int32_t>(); }
  Global<const RowPlace> places() const { return places_.as<const RowPlace>(); }
  Global<const RouteRow> route_rows() const { return route_rows_.as<const RouteRow>(); }
  RouteTables route_tables() const { return plans_.empty() ? RouteTables{} : plans_.front().tables(); }
  // Keys and values of a layer.
  CacheView cache(int layer) const;
  // Spans of the longest sequence; kSpanPositions each.
  int max_spans() const { return max_spans_; }
  // Widest selection that a rule of the batch can cause.
  int route_width() const { return route_width_; }

  // Assignments of the batch, by count slot.
  Global<uint32_t> counts() const { return counts_.as<uint32_t>(); }
  // Enqueues their way back; add_counts() adds them where the rows want them, after the stream was waited for.
  void read_counts(Stream& stream);
  void add_counts() const;

 private:
  void place_rows(const ModelConfig& config, const Batch& batch);
  void list_pages(const ModelConfig& config, const Batch& batch);

  template <typename T>
  void upload(Stream& stream, const std::vector<T>& values, GrowingBuffer& to) {
    if (values.empty()) return;
    to.reserve(values.size() * sizeof(T));
    copy_to_device(stream, to.data(), values.data(), values.size() * sizeof(T));
  }

  int rows_ = 0, sequences_ = 0, max_tiles_ = 0, max_spans_ = 0, route_width_ = 0;
  size_t slot_size_ = 0;           // counts of a slot: (MoE layers, experts)
  CacheView cache_;                // of layer 0
  std::vector<RoutePlans> plans_;  // one where a row has rules, else none

  // Host sides; the copies read them until the stream was waited for.
  std::vector<int32_t> host_tokens_;
  std::vector<RowPlace> host_places_;
  std::vector<RouteRow> host_route_rows_;
  std::vector<Global<uint8_t>> host_pages_;  // (layers, sequences, max_tiles)
  std::vector<uint64_t*> count_slots_;       // where the counts of a slot go
  std::vector<uint32_t> host_counts_;
  std::vector<const RoutePlan*> host_plans_;

  GrowingBuffer tokens_, places_, route_rows_, pages_, counts_;
};

}  // namespace moescope::cuda
