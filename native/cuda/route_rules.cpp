#include "cuda/route_rules.h"

#include "core/error.h"

namespace moescope::cuda {

namespace {

// Appends and answers where.
template <typename T>
int32_t append(std::vector<T>& pool, const std::vector<T>& values) {
  const auto first = static_cast<int32_t>(pool.size());
  pool.insert(pool.end(), values.begin(), values.end());
  return first;
}

}  // namespace

void RoutePlans::add(const RouteRule& rule) {
  DeviceRule entry;
  entry.kind = rule.kind;
  entry.zeroes_shared = rule.shared;
  entry.origin = static_cast<int16_t>(rule.scope.origin);
  entry.position_start = rule.scope.position_start;
  entry.position_end = rule.scope.position_end;
  entry.first_segment = append(segments_, rule.scope.segments);
  entry.num_segments = static_cast<int32_t>(rule.scope.segments.size());
  for (uint16_t expert : rule.experts) entry.experts[expert / 32] |= 1u << expert % 32;
  entry.k = rule.k;
  entry.from = rule.from;
  entry.to = rule.to;
  entry.first_bias = append(floats_, rule.bias);
  if (rule.kind == RouteRule::Kind::Replay) {
    entry.route_start = rule.route_start;
    entry.route_k = rule.route_k;
    entry.route_rows = static_cast<int32_t>(rule.route_experts.size()) / rule.route_k;
    entry.first_recorded = append(experts_, rule.route_experts);
    entry.first_recorded_weight = rule.route_weights.empty() ? -1 : append(floats_, rule.route_weights);
  }
  rules_.push_back(entry);
}

template <typename T>
Global<const T> RoutePlans::upload(Stream& stream, const std::vector<T>& values) {
  if (values.empty()) return nullptr;
  DeviceBuffer& buffer = buffers_.emplace_back(values.size() * sizeof(T));
  copy_to_device(stream, buffer.data(), values.data(), buffer.bytes());
  return buffer.as<const T>();
}

RoutePlans::RoutePlans(Stream& stream, const ModelConfig& config, const std::vector<const RoutePlan*>& plans) {
  if (config.num_experts > kMaxExperts) {
    fail(ErrorCode::Unsupported, "Device cuda routes among at most ", kMaxExperts, " experts, the model has ",
         config.num_experts, ".");
  }
  for (const RoutePlan* plan : plans) {
    for (const std::vector<RouteRule>& layer : plan->layers) {
      starts_.push_back(static_cast<int32_t>(rules_.size()));
      for (const RouteRule& rule : layer) add(rule);
    }
    starts_.push_back(static_cast<int32_t>(rules_.size()));
  }
  tables_.rules = upload(stream, rules_);
  tables_.starts = upload(stream, starts_);
  tables_.segments = upload(stream, segments_);
  tables_.floats = upload(stream, floats_);
  tables_.experts = upload(stream, experts_);
  tables_.num_layers = config.num_layers;
  stream.synchronize();
}

}  // namespace moescope::cuda
