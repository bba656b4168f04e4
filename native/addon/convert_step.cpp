// RouteRule, StepRequest and StepResult of src/native/binding.ts.
#include <map>

#include "addon/convert.h"

namespace moescope {

namespace {

constexpr int64_t kMaxInt = 0x7fffffff;
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

SampleSpec to_sample_spec(const Napi::Object& object) {
  SampleSpec spec;
  const auto number = [&](const char* name, double low) {
    const double value = to_number(object.Get(name), name);
    if (!(value >= low))
      fail(ErrorCode::InvalidArgument, "Expected at least ", low, " for ", name, ", got ", value, ".");
    return value;
  };
  constexpr double kAny = -1e9;
  spec.repetition_penalty = number("repetitionPenalty", 1e-6);
  spec.presence_penalty = number("presencePenalty", kAny);
  spec.frequency_penalty = number("frequencyPenalty", kAny);
  spec.penalty_tokens = to_vector<int32_t>(object.Get("penaltyTokens"), "penaltyTokens");
  spec.generated_start = to_integer(object.Get("generatedStart"), "generatedStart", 0, kMaxSafeInteger);
  if (object.Has("allowedTokens"))
    spec.allowed_tokens = to_vector<uint32_t>(object.Get("allowedTokens"), "allowedTokens");
  spec.temperature = number("temperature", 0);
  spec.top_k = static_cast<int32_t>(to_integer(object.Get("topK"), "topK", 0, kMaxInt));
  spec.top_p = number("topP", 0);
  spec.min_p = number("minP", 0);
  spec.seed = static_cast<uint64_t>(to_integer(object.Get("seed"), "seed", 0, kMaxSafeInteger));
  spec.stream = static_cast<uint64_t>(to_integer(object.Get("stream"), "stream", 0, kMaxSafeInteger));
  return spec;
}

HeadSpec to_head_spec(const Napi::Object& object) {
  HeadSpec head;
  const std::string kind = to_string(object.Get("kind"), "head.kind");
  if (kind == "none") return head;
  if (kind == "logits" || kind == "top") {
    head.kind = kind == "logits" ? HeadSpec::Kind::Logits : HeadSpec::Kind::Top;
    const std::string rows = to_string(object.Get("rows"), "head.rows");
    if (rows != "all" && rows != "last") {
      fail(ErrorCode::InvalidArgument, "Expected \"last\" or \"all\" for head.rows, got ", rows, ".");
    }
    head.all_rows = rows == "all";
    if (kind == "top") head.top_n = static_cast<int32_t>(to_integer(object.Get("n"), "head.n", 1, kMaxInt));
  } else if (kind == "targets") {
    head.kind = HeadSpec::Kind::Targets;
    head.rows = to_vector<int32_t>(object.Get("rows"), "head.rows");
    head.targets = to_vector<int32_t>(object.Get("targets"), "head.targets");
  } else if (kind == "sample") {
    head.kind = HeadSpec::Kind::Sample;
    head.sample = to_sample_spec(to_object(object.Get("spec"), "head.spec"));
  } else {
    fail(ErrorCode::InvalidArgument, "Expected none, logits, targets, top or sample for head.kind, got ", kind, ".");
  }
  return head;
}

CaptureLevel to_capture_level(const std::string& name) {
  if (name == "counts") return CaptureLevel::Counts;
  if (name == "topk") return CaptureLevel::Topk;
  if (name == "logits") return CaptureLevel::Logits;
  if (name == "hidden") return CaptureLevel::Hidden;
  fail(ErrorCode::InvalidArgument, "Expected counts, topk, logits or hidden for capture, got ", name, ".");
}

}  // namespace

std::vector<RouteRequest> to_route_requests(const Napi::Value& value, const ModelConfig& config) {
  const Napi::Array rules = to_array(value, "rules");
  std::vector<RouteRequest> requests;
  for (uint32_t index = 0; index < rules.Length(); ++index) {
    requests.push_back(to_route_request(to_object(rules.Get(index), "rules"), config));
  }
  return requests;
}

StepRequest to_step_request(const Napi::Value& value) {
  const Napi::Object object = to_object(value, "request");
  StepRequest request;
  request.capture = to_capture_level(to_string(object.Get("capture"), "capture"));
  const Napi::Array segments = to_array(object.Get("segments"), "segments");
  for (uint32_t index = 0; index < segments.Length(); ++index) {
    const Napi::Object source = to_object(segments.Get(index), "segments");
    StepSegment segment;
    segment.sequence = static_cast<int>(to_integer(source.Get("sequence"), "sequence", 0, kMaxInt));
    segment.tokens = to_vector<int32_t>(source.Get("tokenIds"), "tokenIds");
    segment.origin = static_cast<int>(to_integer(source.Get("origin"), "origin", 0, 1));
    segment.label = static_cast<int32_t>(to_integer(source.Get("segment"), "segment", -kMaxInt, kMaxInt));
    segment.head = to_head_spec(to_object(source.Get("head"), "head"));
    request.segments.push_back(std::move(segment));
  }
  return request;
}

Napi::Object from_step_result(Napi::Env env, StepResult&& result, const ModelConfig& config) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("logits", from_vector(env, std::move(result.logits)));
  object.Set("logprobs", from_vector(env, std::move(result.logprobs)));
  object.Set("isGreedy", from_vector(env, std::move(result.is_greedy)));
  object.Set("topIds", from_vector(env, std::move(result.top_ids)));
  object.Set("topLogprobs", from_vector(env, std::move(result.top_logprobs)));
  object.Set("sampledIds", from_vector(env, std::move(result.sampled_ids)));
  if (!result.has_trace) return object;

  Napi::Object trace = Napi::Object::New(env);
  trace.Set("rows", Napi::Number::New(env, static_cast<double>(result.rows)));
  trace.Set("numMoeLayers", Napi::Number::New(env, result.num_moe_layers));
  trace.Set("topK", Napi::Number::New(env, result.top_k));
  trace.Set("numExperts", Napi::Number::New(env, config.num_experts));
  trace.Set("topkExperts", from_vector(env, std::move(result.topk_experts)));
  trace.Set("topkWeights", from_vector(env, std::move(result.topk_weights)));
  trace.Set("sharedGate", from_vector(env, std::move(result.shared_gate)));
  trace.Set("margin", from_vector(env, std::move(result.margin)));
  trace.Set("intervened", from_vector(env, std::move(result.intervened)));
  trace.Set("routerLogits", from_vector(env, std::move(result.router_logits)));
  trace.Set("hidden", from_vector(env, std::move(result.hidden)));
  object.Set("trace", trace);
  return object;
}

}  // namespace moescope
