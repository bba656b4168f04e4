// RouteRule of src/native/binding.ts.
#include <map>

#include "addon/convert.h"

namespace moescope {

namespace {

constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;

std::vector<uint16_t> to_expert_ids(const Napi::Value& value, const char* name) {
  std::vector<uint16_t> experts;
  for (int32_t expert : to_vector<int32_t>(value, name)) {
    if (expert < 0 || expert >= kNoExpert)
      fail(ErrorCode::InvalidArgument, "Expected expert ids for ", name, ", got ", expert, ".");
    experts.push_back(static_cast<uint16_t>(expert));
  }
  return experts;
}

RouteRule::Kind to_kind(const std::string& name) {
  using Kind = RouteRule::Kind;
  static const std::map<std::string, Kind> kinds = {
      {"zero", Kind::Zero},   {"mask", Kind::Mask},  {"swap", Kind::Swap},    {"bias", Kind::Bias},
      {"force", Kind::Force}, {"top-k", Kind::TopK}, {"replay", Kind::Replay}};
  const auto found = kinds.find(name);
  if (found == kinds.end()) fail(ErrorCode::InvalidArgument, "Expected a kind of intervention, got ", name, ".");
  return found->second;
}

RouteScope to_scope(const Napi::Object& object) {
  RouteScope scope;
  if (object.Has("positionStart"))
    scope.position_start = to_integer(object.Get("positionStart"), "positionStart", 0, kMaxSafeInteger);
  if (object.Has("positionEnd"))
    scope.position_end = to_integer(object.Get("positionEnd"), "positionEnd", 0, kMaxSafeInteger);
  if (object.Has("origin")) scope.origin = static_cast<int>(to_integer(object.Get("origin"), "origin", 0, 1));
  if (object.Has("segments")) scope.segments = to_vector<int32_t>(object.Get("segments"), "segments");
  return scope;
}

RouteRequest to_route_request(const Napi::Object& object, const ModelConfig& config) {
  RouteRequest request;
  RouteRule& rule = request.rule;
  rule.kind = to_kind(to_string(object.Get("kind"), "kind"));
  rule.scope = to_scope(object);
  request.layers = to_vector<int32_t>(object.Get("layers"), "layers");
  if (object.Has("experts")) rule.experts = to_expert_ids(object.Get("experts"), "experts");
  if (object.Has("shared")) rule.shared = to_boolean(object.Get("shared"), "shared");
  if (object.Has("bias")) rule.bias = to_vector<float>(object.Get("bias"), "bias");
  const int64_t last_expert = std::max(config.num_experts - 1, 0);
  if (object.Has("from")) rule.from = static_cast<uint16_t>(to_integer(object.Get("from"), "from", 0, last_expert));
  if (object.Has("to")) rule.to = static_cast<uint16_t>(to_integer(object.Get("to"), "to", 0, last_expert));
  if (object.Has("k")) rule.k = static_cast<int>(to_integer(object.Get("k"), "k", 1, config.num_experts));
  if (rule.kind == RouteRule::Kind::Replay) {
    rule.route_experts = to_vector<uint16_t>(object.Get("routeExperts"), "routeExperts");
    if (object.Has("routeWeights")) rule.route_weights = to_vector<float>(object.Get("routeWeights"), "routeWeights");
    rule.route_start = to_integer(object.Get("routeStart"), "routeStart", 0, kMaxSafeInteger);
    rule.route_k = static_cast<int>(to_integer(object.Get("routeK"), "routeK", 1, config.num_experts));
    rule.route_layers = static_cast<int>(request.layers.size());
  }
  return request;
}

RouteRequest to_hook_request(const Napi::Object& object,
                             const std::function<int(const Napi::Function&)>& add_callback) {
  const std::string name = to_string(object.Get("hook"), "hook");
  const std::optional<HookPoint> point = parse_hook_name(name);
  if (!point) fail(ErrorCode::InvalidArgument, "Expected the name of a hook point, got ", name, ".");
  const Napi::Value function = object.Get("callback");
  if (!function.IsFunction()) fail(ErrorCode::InvalidArgument, "Expected a function for callback.");
  HookRule hook;
  hook.point = *point;
  hook.scope = to_scope(object);
  hook.layers = to_vector<int32_t>(object.Get("layers"), "layers");
  hook.callback = add_callback(function.As<Napi::Function>());
  RouteRequest request;
  request.hook = std::move(hook);
  return request;
}

}  // namespace

std::vector<RouteRequest> to_route_requests(const Napi::Value& value, const ModelConfig& config,
                                            const std::function<int(const Napi::Function&)>& add_callback) {
  const Napi::Array rules = to_array(value, "rules");
  std::vector<RouteRequest> requests;
  for (uint32_t index = 0; index < rules.Length(); ++index) {
    const Napi::Object rule = to_object(rules.Get(index), "rules");
    if (to_string(rule.Get("kind"), "kind") == "callback") {
      requests.push_back(to_hook_request(rule, add_callback));
    } else {
      requests.push_back(to_route_request(rule, config));
    }
  }
  return requests;
}

}  // namespace moescope
