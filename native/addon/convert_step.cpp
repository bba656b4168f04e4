// StepRequest and StepResult of src/native/binding.ts.
#include "addon/convert.h"

namespace moescope {

namespace {

constexpr int64_t kMaxInt = 0x7fffffff;
constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;

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

}  // namespace

StepRequest to_step_request(const Napi::Value& value) {
  const Napi::Object object = to_object(value, "request");
  StepRequest request;
  if (object.Has("contributions")) request.contributions = to_boolean(object.Get("contributions"), "contributions");
  const Napi::Array segments = to_array(object.Get("segments"), "segments");
  for (uint32_t index = 0; index < segments.Length(); ++index) {
    const Napi::Object source = to_object(segments.Get(index), "segments");
    StepSegment segment;
    segment.sequence = static_cast<int>(to_integer(source.Get("sequence"), "sequence", 0, kMaxInt));
    if (source.Has("isRecorded")) segment.is_recorded = to_boolean(source.Get("isRecorded"), "isRecorded");
    segment.tokens = to_vector<int32_t>(source.Get("tokenIds"), "tokenIds");
    segment.origin = static_cast<int>(to_integer(source.Get("origin"), "origin", 0, 1));
    segment.label = static_cast<int32_t>(to_integer(source.Get("segment"), "segment", -kMaxInt, kMaxInt));
    segment.head = to_head_spec(to_object(source.Get("head"), "head"));
    request.segments.push_back(std::move(segment));
  }
  return request;
}

Napi::Object from_step_result(Napi::Env env, StepResult&& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("logits", from_vector(env, std::move(result.logits)));
  object.Set("logprobs", from_vector(env, std::move(result.logprobs)));
  object.Set("isGreedy", from_vector(env, std::move(result.is_greedy)));
  object.Set("topIds", from_vector(env, std::move(result.top_ids)));
  object.Set("topLogprobs", from_vector(env, std::move(result.top_logprobs)));
  object.Set("sampledIds", from_vector(env, std::move(result.sampled_ids)));
  if (result.contributions) object.Set("contributions", from_contributions(env, std::move(*result.contributions)));
  return object;
}

Napi::Object from_contributions(Napi::Env env, Contributions&& sums) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("rows", from_vector(env, std::move(sums.rows)));
  object.Set("gate", from_vector(env, std::move(sums.gate)));
  object.Set("norm", from_vector(env, std::move(sums.norm)));
  object.Set("squaredNorm", from_vector(env, std::move(sums.squared_norm)));
  object.Set("gatedNorm", from_vector(env, std::move(sums.gated_norm)));
  object.Set("maxAbs", from_vector(env, std::move(sums.max_abs)));
  object.Set("pairRows", from_vector(env, std::move(sums.pair_rows)));
  object.Set("pairCosine", from_vector(env, std::move(sums.pair_cosine)));
  object.Set("sharedRows", from_vector(env, std::move(sums.shared_rows)));
  object.Set("sharedNorm", from_vector(env, std::move(sums.shared_norm)));
  object.Set("routedNorm", from_vector(env, std::move(sums.routed_norm)));
  object.Set("sharedRatio", from_vector(env, std::move(sums.shared_ratio)));
  return object;
}

}  // namespace moescope
