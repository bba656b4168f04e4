// Interventions as the router kernel reads them: the rules of several plans in flat tables on the device.
#pragma once

#include <cstdint>
#include <vector>

#include "core/router.h"
#include "cuda/global.h"
#include "cuda/runtime.h"

namespace moescope::cuda {

constexpr int kMaxExperts = 256;
constexpr int kExpertWords = kMaxExperts / 32;

// A RouteRule; what is long lies in the tables of RouteTables.
struct DeviceRule {
  RouteRule::Kind kind = RouteRule::Kind::Zero;
  uint8_t zeroes_shared = 0;
  int16_t origin = -1;
  int64_t position_start = 0, position_end = 0;
  int32_t first_segment = 0, num_segments = 0;
  uint32_t experts[kExpertWords] = {};  // bit e % 32 of word e / 32
  int32_t k = 0;
  int32_t from = 0, to = 0;
  int32_t first_bias = 0;
  int64_t route_start = 0;
  int32_t route_k = 0, route_rows = 0;
  int32_t first_recorded = 0;         // route_rows * route_k ids
  int32_t first_recorded_weight = 0;  // as many weights, or -1: the gates of this pass
};

// One row of a batch; the same for every layer.
struct RouteRow {
  int64_t position = 0;
  int32_t origin = 0;
  int32_t segment = 0;
  int32_t plan = -1;        // index among the plans of the tables, or -1
  int32_t trace_row = -1;   // where the row is recorded, or -1
  int32_t count_slot = -1;  // whose counts it adds to, or -1
};

struct RouteTables {
  Global<const DeviceRule> rules = nullptr;
  Global<const int32_t> starts = nullptr;  // (plans, layers + 1)  the rules of a layer are [starts[l], starts[l + 1])
  Global<const int32_t> segments = nullptr;
  Global<const float> floats = nullptr;
  Global<const uint16_t> experts = nullptr;
  int num_layers = 0;
};

// Puts plans on the device; they do not change afterwards.
class RoutePlans {
 public:
  // Unsupported for more than kMaxExperts experts.
  RoutePlans(Stream& stream, const ModelConfig& config, const std::vector<const RoutePlan*>& plans);

  RouteTables tables() const { return tables_; }

 private:
  template <typename T>
  Global<const T> upload(Stream& stream, const std::vector<T>& values);
  void add(const RouteRule& rule);

  std::vector<DeviceBuffer> buffers_;
  std::vector<DeviceRule> rules_;
  std::vector<int32_t> starts_, segments_;
  std::vector<float> floats_;
  std::vector<uint16_t> experts_;
  RouteTables tables_;
};

}  // namespace moescope::cuda
