// Binding of tensors: what is taken from the file, and every checkpoint that must be refused.
#include "core/weights.h"

#include <sys/stat.h>

#include <limits>

#include "test/tiny_model.h"

using namespace moescope;
using namespace moescope::check;

namespace {

// A checkpoint that is right, with what a case changes about it.
struct Attempt {
  TinyCheckpoint model = tiny_qwen2_moe();
  std::vector<std::byte> bytes = model.bytes();
  std::vector<TensorEntry> tensors = model.tensors;
  ModelConfig config = model.config;

  TensorEntry& at(const std::string& role) {
    for (TensorEntry& entry : tensors) {
      if (entry.role == role) return entry;
    }
    fail(ErrorCode::Internal, "The test knows no tensor ", role, ".");
  }
  Attempt& drop(const std::string& role) {
    std::erase_if(tensors, [&](const TensorEntry& entry) { return entry.role == role; });
    return *this;
  }
  Weights load() const {
    const TemporaryFile file(bytes);
    return Weights(config, {file.path()}, tensors);
  }
};

// The message of the refusal must name what is wrong.
void check_refused(int line, const Attempt& attempt, const std::string& name) {
  try {
    attempt.load();
    report(__FILE__, line, "expected a refusal that names ", name);
  } catch (const Error& error) {
    const std::string message = error.what();
    if (error.code() != ErrorCode::BadFile) report(__FILE__, line, "expected BAD_FILE, got ", code_name(error.code()));
    if (message.find(name) == std::string::npos) report(__FILE__, line, "expected ", name, " in: ", message);
  }
}

#define CHECK_REFUSED(attempt, name) check_refused(__LINE__, attempt, name)

}  // namespace

CASE("every tensor is read where it lies, at any address, and bytes are accounted for") {
  for (const TinyCheckpoint& model : {tiny_llama(), tiny_qwen2(), tiny_mixtral(), tiny_qwen2_moe()}) {
    const TemporaryFile file(model.bytes());
    const Weights weights(model.config, {file.path()}, model.tensors);
    const auto check_matrix = [&](const std::string& role, const Matrix& matrix) {
      const std::vector<float>& expected = model.values.at(role);
      CHECK_EQ(matrix.rows * matrix.cols, static_cast<int64_t>(expected.size()));
      std::vector<float> row(matrix.cols);
      bool same = true;
      for (int64_t index = 0; index < matrix.rows; ++index) {
        dequantize_row(matrix.dtype, matrix.row(index), row.data(), matrix.cols);
        same = same && std::equal(row.begin(), row.end(), expected.begin() + index * matrix.cols);
      }
      if (!same) report(__FILE__, __LINE__, role, " has other values");
    };
    check_matrix("embed", weights.embed);
    check_matrix(model.values.count("head") != 0 ? "head" : "embed", weights.head);
    CHECK(weights.final_norm == model.values.at("final_norm"));
    for (int layer = 0; layer < model.config.num_layers; ++layer) {
      const std::string prefix = "layers." + std::to_string(layer) + ".";
      const LayerWeights& bound = weights.layers.at(layer);
      CHECK(bound.attn_norm == model.values.at(prefix + "attn_norm"));
      CHECK(bound.ffn_norm == model.values.at(prefix + "ffn_norm"));
      check_matrix(prefix + "q", bound.q);
      check_matrix(prefix + "k", bound.k);
      check_matrix(prefix + "v", bound.v);
      check_matrix(prefix + "o", bound.o);
      const bool has_bias = model.values.count(prefix + "q_bias") != 0;
      CHECK_EQ(bound.q_bias.empty(), !has_bias);
      if (has_bias) CHECK(bound.q_bias == model.values.at(prefix + "q_bias"));
      if (has_bias) CHECK(bound.k_bias == model.values.at(prefix + "k_bias"));
      if (has_bias) CHECK(bound.v_bias == model.values.at(prefix + "v_bias"));
      const auto check_ffn = [&](const std::string& ffn_prefix, const FeedForward& ffn) {
        check_matrix(ffn_prefix + "gate", ffn.gate);
        check_matrix(ffn_prefix + "up", ffn.up);
        check_matrix(ffn_prefix + "down", ffn.down);
      };
      if (!model.config.is_moe_layer[layer]) {
        check_ffn(prefix, bound.dense);
        continue;
      }
      CHECK(bound.router == model.values.at(prefix + "router"));
      for (int expert = 0; expert < model.config.num_experts; ++expert) {
        check_ffn(prefix + "experts." + std::to_string(expert) + ".", bound.experts.at(expert));
      }
      CHECK_EQ(bound.shared.gate.empty(), model.config.shared_expert_intermediate_size == 0);
      if (bound.shared.gate.empty()) continue;
      check_ffn(prefix + "shared.", bound.shared);
      CHECK(bound.shared_gate == model.values.at(prefix + "shared_gate"));
    }
    size_t mapped = 0, copied = 0;
    for (const TensorEntry& entry : model.tensors) {
      const BlockShape block = block_shape(entry.dtype);
      const bool is_copied = entry.rows == 1 || entry.role.ends_with("router");
      (is_copied ? copied : mapped) +=
          is_copied ? entry.rows * entry.cols * 4 : entry.rows * entry.cols / block.elements * block.bytes;
    }
    CHECK_EQ(weights.mapped_bytes(), mapped);
    CHECK_EQ(weights.copied_bytes(), copied);
  }
}

CASE("a checkpoint may be spread over several files") {
  const TinyCheckpoint model = tiny_qwen2();
  const TemporaryFile first(model.bytes()), second(model.bytes());
  std::vector<TensorEntry> tensors = model.tensors;
  for (size_t index = 0; index < tensors.size(); index += 2) tensors[index].file = 1;
  const Weights weights(model.config, {first.path(), second.path()}, tensors);
  CHECK(weights.final_norm == model.values.at("final_norm"));
}

CASE("a missing tensor is refused by its role") {
  for (const char* role : {"embed", "final_norm", "layers.0.attn_norm", "layers.0.q", "layers.2.k", "layers.1.v",
                           "layers.0.o", "layers.1.gate", "layers.1.down", "layers.0.router", "layers.2.experts.8.up",
                           "layers.0.shared.gate", "layers.0.shared_gate", "layers.2.ffn_norm"}) {
    Attempt attempt;
    CHECK_REFUSED(attempt.drop(role), role);
  }
}

CASE("biases and the head may be absent") {
  Attempt attempt;
  attempt.drop("layers.0.q_bias").drop("layers.0.k_bias").drop("layers.0.v_bias").drop("head");
  const Weights weights = attempt.load();
  CHECK(weights.layers[0].q_bias.empty());
  CHECK(!weights.layers[2].q_bias.empty());
  CHECK(weights.head.data == weights.embed.data);
}

CASE("a surplus or second tensor is refused") {
  for (const char* role :
       {"layers.3.q", "layers.1.router", "layers.0.gate", "layers.0.experts.9.up", "layers.0.o_bias", "Embed"}) {
    Attempt attempt;
    TensorEntry extra = attempt.at("layers.0.q");
    extra.role = role;
    extra.name = "extra";
    attempt.tensors.push_back(extra);
    CHECK_REFUSED(attempt, "extra");
  }
  Attempt attempt;
  TensorEntry second = attempt.at("layers.0.q");
  second.name = "again";
  attempt.tensors.push_back(second);
  CHECK_REFUSED(attempt, "again");
}

CASE("a misshapen tensor is refused") {
  for (const char* role : {"embed", "final_norm", "layers.0.q", "layers.0.k_bias", "layers.1.up", "layers.2.router",
                           "layers.0.experts.3.down", "layers.0.shared_gate", "head"}) {
    Attempt rows, cols, turned;
    ++rows.at(role).rows;
    CHECK_REFUSED(rows, rows.at(role).name);
    --cols.at(role).cols;
    CHECK_REFUSED(cols, cols.at(role).name);
    std::swap(turned.at(role).rows, turned.at(role).cols);
    CHECK_REFUSED(turned, turned.at(role).name);
  }
}

CASE("a row that is no whole number of blocks is refused") {
  Attempt attempt;
  attempt.at("layers.0.q").dtype = DType::Q8_0;  // 60 columns
  CHECK_REFUSED(attempt, "file.layers.0.q");
}

CASE("a tensor past the end of its file is refused before a byte of it is read") {
  const Attempt right;
  right.load();
  Attempt short_by_one;
  short_by_one.bytes.pop_back();
  CHECK_REFUSED(short_by_one, "file.head");
  for (uint64_t offset : {uint64_t{right.bytes.size()}, uint64_t{1} << 53, std::numeric_limits<uint64_t>::max()}) {
    Attempt attempt;
    attempt.at("layers.0.experts.2.up").offset = offset;
    CHECK_REFUSED(attempt, "file.layers.0.experts.2.up");
  }
  Attempt wide;  // as F32 it would take twice the bytes
  wide.at("head").dtype = DType::F32;
  CHECK_REFUSED(wide, "file.head");
}

CASE("files that are not there, or not files, are refused") {
  const TinyCheckpoint model = tiny_llama();
  const auto load = [&](const std::string& path) { return Weights(model.config, {path}, model.tensors); };
  CHECK_FAILS(load("/nonexistent/model.safetensors"), NotFound);
  CHECK_FAILS(load("/tmp"), BadFile);
  const TemporaryFile empty({});
  CHECK_FAILS(load(empty.path()), BadFile);
  CHECK_FAILS(load(empty.path() + "/below-a-file"), NotFound);
  const std::string pipe = empty.path() + "-pipe";
  if (mkfifo(pipe.c_str(), 0600) != 0) report(__FILE__, __LINE__, "could not make a pipe");
  CHECK_FAILS(load(pipe), BadFile);  // without waiting for somebody to write into it
  unlink(pipe.c_str());
  if (geteuid() != 0) {
    chmod(empty.path().c_str(), 0);
    CHECK_FAILS(load(empty.path()), NoPermission);
  }
  for (int file : {-1, 1}) {
    Attempt attempt;
    attempt.at("embed").file = file;
    CHECK_FAILS(attempt.load(), Internal);
  }
}

CASE("configs that contradict themselves are refused") {
  const auto check_config = [](int line, auto change) {
    Attempt attempt;
    change(attempt.config);
    check_refused(line, attempt, "config");
  };
#define CHECK_CONFIG(change) check_config(__LINE__, [](ModelConfig& config) { change; })
  CHECK_CONFIG(config.num_layers = 0);
  CHECK_CONFIG(config.hidden_size = 0);
  CHECK_CONFIG(config.vocab_size = -1);
  CHECK_CONFIG(config.max_context = 0);
  CHECK_CONFIG(config.num_attention_heads = 0);
  CHECK_CONFIG(config.num_key_value_heads = 0);
  CHECK_CONFIG(config.num_key_value_heads = 2);  // 7 query heads
  CHECK_CONFIG(config.num_attention_heads = config.num_key_value_heads = 1 << 30);
  CHECK_CONFIG(config.head_dim = 19);
  CHECK_CONFIG(config.head_dim = 0);
  CHECK_CONFIG(config.rms_norm_eps = 0);
  CHECK_CONFIG(config.rms_norm_eps = std::nanf(""));
  CHECK_CONFIG(config.rope_inv_freq.pop_back());
  CHECK_CONFIG(config.rope_inv_freq[0] = std::numeric_limits<float>::infinity());
  CHECK_CONFIG(config.rope_attention_factor = std::nanf(""));
  CHECK_CONFIG(config.is_moe_layer.pop_back());
  CHECK_CONFIG(config.intermediate_size = 0);  // layer 1 is dense
  CHECK_CONFIG(config.num_experts = 0);
  CHECK_CONFIG(config.num_experts = 65535);  // the number of an empty slot
  CHECK_CONFIG(config.num_experts_per_token = 0);
  CHECK_CONFIG(config.num_experts_per_token = 10);
  CHECK_CONFIG(config.moe_intermediate_size = 0);
  CHECK_CONFIG(config.shared_expert_intermediate_size = -1);
}
