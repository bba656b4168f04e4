// A profile counts what a step needs, adds up to no more than its time, and changes no bit.
#include <numeric>

#include "test/session_rows.h"

using namespace moescope;
using namespace moescope::check;

namespace {

constexpr int kRows = 20;
constexpr int kChunk = 8;  // 8, 8 and 4 rows
constexpr int kChunks = 3;
constexpr int kThreads = 2;

struct Profiled {
  Profile profile;
  std::vector<float> logits;
};

Profiled profiled(const TinyCheckpoint& checkpoint) {
  const std::shared_ptr<Model> model = checkpoint.load(kThreads);
  model->profile = std::make_unique<Profile>(model->config.num_layers);
  model->backend->set_profile(model->profile.get());
  Session session(model, CacheType::F32, kChunk);
  const std::vector<int32_t> prompt = random_tokens(kRows, model->config.vocab_size, 31);
  std::vector<float> logits = whole(session, prompt).logits;
  model->backend->set_profile(nullptr);
  whole(session, prompt);  // not profiled
  return {*model->profile, std::move(logits)};
}

size_t cell(const Profile& profile, ProfileOp op, int layer) {
  return static_cast<size_t>(op) * (profile.num_layers() + 1) + (layer < 0 ? profile.num_layers() : layer);
}

}  // namespace

CASE("calls, bytes and products are those of the matrices and positions that a step needs") {
  const ModelConfig& config = mixtral().config;
  const Profile profile = profiled(mixtral()).profile;
  CHECK_EQ(profile.steps(), 2);
  CHECK_EQ(profile.rows(), 2 * kRows);
  for (int layer = 0; layer < config.num_layers; ++layer) {
    for (const ProfileOp op : {ProfileOp::AttentionIn, ProfileOp::Attention, ProfileOp::Route, ProfileOp::ExpertsIn,
                               ProfileOp::ExpertsOut}) {
      CHECK_EQ(profile.calls[cell(profile, op, layer)], kChunks);
    }
    const double assignments = kRows * config.num_experts_per_token;
    const double expert = config.hidden_size * config.moe_intermediate_size;
    CHECK_EQ(profile.macs[cell(profile, ProfileOp::ExpertsIn, layer)], 2 * assignments * expert);
    CHECK_EQ(profile.macs[cell(profile, ProfileOp::ExpertsOut, layer)], assignments * expert);
    // o is (256, 64) in Q8_0, 34 bytes for 32; it is read once per chunk.
    CHECK_EQ(profile.bytes[cell(profile, ProfileOp::AttentionOut, layer)], kChunks * 256 * 64 * 34.0 / 32);
    // Chunks end at 8, 16 and 20 positions of 2 heads of 16, keys and values, fp32.
    CHECK_EQ(profile.bytes[cell(profile, ProfileOp::Attention, layer)], (8 + 16 + 20) * 2 * 16 * 2 * 4.0);
    // Query i meets i + 1 keys of 16, twice, in each of 4 heads.
    CHECK_EQ(profile.macs[cell(profile, ProfileOp::Attention, layer)], kRows * (kRows + 1) / 2 * 4 * 16 * 2.0);
  }
  CHECK_EQ(profile.macs[cell(profile, ProfileOp::Head, kOutsideLayers)],
           static_cast<double>(kRows) * config.hidden_size * config.vocab_size);
}

CASE("ops take no more than their step, and threads no more than is there") {
  for (const TinyCheckpoint* model : all_models()) {
    const Profile profile = profiled(*model).profile;
    const double total = std::accumulate(profile.seconds.begin(), profile.seconds.end(), 0.0);
    CHECK(total > 0);
    CHECK(total <= profile.step_seconds());
    for (size_t index = 0; index < profile.seconds.size(); ++index) {
      // A worker's last look at the clock may come after the caller's: a millisecond is generous.
      CHECK(profile.busy_seconds[index] <= kThreads * profile.seconds[index] + 1e-3);
      CHECK(profile.seconds[index] >= 0 && profile.busy_seconds[index] >= 0);
    }
  }
}

CASE("a profile changes no bit") {
  for (const TinyCheckpoint* model : all_models()) {
    Session session(model->load(), CacheType::F32, kChunk);
    const std::vector<int32_t> prompt = random_tokens(kRows, model->config.vocab_size, 31);
    CHECK(same_bits(whole(session, prompt).logits, profiled(*model).logits));
  }
}
