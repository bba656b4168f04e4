// Two kernels: statistics of 4096 logits a block, then one block for each request. Probabilities of a draw are whole numbers of 2^-44 of the
// largest one: their sums are exact, so a draw depends on nothing but its row.
#include <climits>

#include "cuda/candidates.cuh"
#include "cuda/head.h"

namespace moescope::cuda {

namespace {

struct StatsParams {
  static constexpr KernelInfo kInfo{"logit_stats", 256, arena_bytes<LogitStats>(8)};

  HeadParams head;
};

// The larger logit, ties to the lower token; sums relative to it.
__device__ inline LogitStats merge_stats(const LogitStats& a, const LogitStats& b) {
  const bool takes_b = b.largest > a.largest || (b.largest == a.largest && b.argmax < a.argmax);
  LogitStats out = takes_b ? b : a;
  // The largest is -inf only where every logit is, or where none was met.
  const double largest = static_cast<double>(out.largest);
  const auto scaled = [&](const LogitStats& part) {
    return part.sum == 0 ? 0.0 : part.sum * exp(static_cast<double>(part.largest) - largest);
  };
  out.sum = scaled(a) + scaled(b);
  out.first_bad = a.first_bad < b.first_bad ? a.first_bad : b.first_bad;
  out.first_taken_out = a.first_taken_out < b.first_taken_out ? a.first_taken_out : b.first_taken_out;
  return out;
}

__device__ inline LogitStats no_stats() { return {0, __uint_as_float(0xff800000u), INT_MAX, INT_MAX, INT_MAX}; }

__device__ inline LogitStats shuffled(const LogitStats& stats, int distance) {
  return {__shfl_xor_sync(kAllLanes, stats.sum, distance), __shfl_xor_sync(kAllLanes, stats.largest, distance),
          __shfl_xor_sync(kAllLanes, stats.argmax, distance), __shfl_xor_sync(kAllLanes, stats.first_bad, distance),
          __shfl_xor_sync(kAllLanes, stats.first_taken_out, distance)};
}

__global__ void __launch_bounds__(StatsParams::kInfo.max_threads) logit_stats_kernel(const StatsParams params) {
  const HeadParams& p = params.head;
  SharedArena arena;
  const Shared<LogitStats> of_warps = arena.take<LogitStats>(8);
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int64_t row = blockIdx.y;
  const Global<const float> logits = p.logits + row * p.vocab;
  const int start = static_cast<int>(blockIdx.x) * kStatsLogits;
  const int end = p.vocab - start < kStatsLogits ? p.vocab : start + kStatsLogits;
  LogitStats stats = no_stats();
  for (int token = start + static_cast<int>(threadIdx.x); token < end; token += StatsParams::kInfo.max_threads) {
    const float logit = logits[token];
    if (logit == __uint_as_float(0xff800000u)) {
      if (token < stats.first_taken_out) stats.first_taken_out = token;
    } else if (!(logit <= 3.402823466e38f)) {
      if (token < stats.first_bad) stats.first_bad = token;
    } else if (logit > stats.largest) {
      stats.largest = logit, stats.argmax = token;
    }
  }
  const float own_largest = stats.largest;
  for (int token = start + static_cast<int>(threadIdx.x); token < end; token += StatsParams::kInfo.max_threads) {
    const float logit = logits[token];
    if (logit <= own_largest && logit >= -3.402823466e38f) {
      stats.sum += exp(static_cast<double>(logit) - static_cast<double>(own_largest));
    }
  }
  for (int distance = 16; distance > 0; distance /= 2) {
    const LogitStats other = shuffled(stats, distance);
    stats = lane & distance ? merge_stats(other, stats) : merge_stats(stats, other);
  }
  if (lane == 0) of_warps[warp] = stats;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int other = 1; other < 8; ++other) stats = merge_stats(stats, of_warps[other]);
  p.stats[row * num_stats(p.vocab) + blockIdx.x] = stats;
}

// SplitMix64's finaliser; see counter_uniform() of core/sampler.cpp.
__device__ inline uint64_t mix(uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

// Penalties, then the mask, into `changed`.
__device__ inline void change_logits(const HeadParams& p, const DeviceSample& sample, const Global<const float>& logits,
                                     const Global<float>& changed) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int token = thread; token < p.vocab; token += HeadParams::kThreads) changed[token] = logits[token];
  __syncthreads();
  for (int index = thread; index < sample.penalty_count; index += HeadParams::kThreads) {
    const PenaltyToken penalty = p.penalties[sample.penalty_start + index];
    double logit = static_cast<double>(changed[penalty.token]);
    logit = logit > 0 ? logit / sample.repetition_penalty : logit * sample.repetition_penalty;
    if (penalty.times_generated > 0) {
      logit -= sample.presence_penalty + sample.frequency_penalty * penalty.times_generated;
    }
    changed[penalty.token] = static_cast<float>(logit);
  }
  __syncthreads();
  if (sample.allowed_count == 0) return;
  for (int token = thread; token < p.vocab; token += HeadParams::kThreads) {
    const int word = token / 32;
    const bool is_allowed =
        word < sample.allowed_count && (p.allowed[sample.allowed_start + word] >> (token % 32) & 1u) != 0;
    if (!is_allowed) changed[token] = __uint_as_float(0xff800000u);
  }
  __syncthreads();
}

// exp((logit - largest) / temperature) in whole numbers of 2^-44.
__device__ inline Key mass_of(float logit, float largest, double temperature) {
  const double exponent = (static_cast<double>(logit) - static_cast<double>(largest)) / temperature;
  return static_cast<Key>(exp(exponent) * 17592186044416.0);
}

// A walk over the candidates from the most likely on: where it ends, and the mass before and of that one.
struct Walk {
  Key key;
  Key before;
  Key total;  // of those that were passed, with the last
};

struct Draw {
  Candidates& candidates;
  Shared<Key> masses;  // (kCandidates)
  Shared<Key> found;   // Walk of the thread that walks, and whether it ended
  double temperature;
  float largest;
  double least_mass;  // min_p

  // Takes candidates while fewer than `max_count` are taken, each has the least mass, and the mass before it is at most `limit`. The first is
  // always taken. All threads get the result.
  __device__ Walk walk(Key max_count, Key limit) {
    Key bound = kAboveAll, taken = 0;
    Walk walk = {0, 0, 0};
    while (true) {
      const Key left = max_count - taken;
      candidates.load(bound, left < HeadParams::kThreads ? static_cast<int>(left) : HeadParams::kThreads);
      const int size = candidates.size();
      __syncthreads();
      for (int i = static_cast<int>(threadIdx.x); i < size; i += HeadParams::kThreads) {
        masses[i] = mass_of(logit_of(candidates[i]), largest, temperature);
      }
      __syncthreads();
      if (threadIdx.x == 0) {
        bool has_ended = size == 0;
        for (int i = 0; i < size && !has_ended; ++i) {
          const Key mass = masses[i];
          const bool is_taken = taken == 0 || (taken < max_count && walk.total <= limit &&
                                               static_cast<double>(mass) >= least_mass * 17592186044416.0);
          has_ended = !is_taken;
          if (!is_taken) break;
          walk = {candidates[i], walk.total, walk.total + mass};
          ++taken;
        }
        found[0] = walk.key, found[1] = walk.before, found[2] = walk.total, found[3] = taken, found[4] = has_ended;
      }
      __syncthreads();
      walk = {found[0], found[1], found[2]};
      taken = found[3];
      if (found[4] != 0 || taken >= max_count) return walk;
      bound = walk.key;
    }
  }
};

// The sum over all tokens: whole numbers, in any order.
__device__ inline Key total_mass(const Global<const float>& logits, int vocab, const Draw& draw) {
  __syncthreads();
  if (threadIdx.x == 0) draw.found[5] = 0;
  __syncthreads();
  Key own = 0;
  for (int token = static_cast<int>(threadIdx.x); token < vocab; token += HeadParams::kThreads) {
    if (key_of(logits[token], token) != 0) own += mass_of(logits[token], draw.largest, draw.temperature);
  }
  own = warp_sum(own);
  if (threadIdx.x % kWarpSize == 0) atomicAdd(draw.found + 5, own);
  __syncthreads();
  return draw.found[5];
}

__device__ inline int draw_token(const HeadParams& p, const TokenRequest& request, const Global<const float>& changed,
                                 Candidates& candidates, const Shared<Key>& masses, const Shared<Key>& found) {
  const DeviceSample& sample = request.sample;
  candidates.load(kAboveAll, 1);
  if (candidates.size() == 0) return -1;
  const Key best = candidates[0];
  if (sample.temperature == 0) return token_of(best);
  Draw draw = {candidates, masses, found, sample.temperature, logit_of(best), 0};
  const Key max_count = sample.top_k > 0 ? static_cast<Key>(sample.top_k) : kAboveAll;
  Key kept = kAboveAll;
  if (sample.top_k > 0) {
    kept = draw.walk(max_count, kAboveAll).total;
  } else if (sample.top_p < 1 || sample.min_p == 0) {
    kept = total_mass(changed, p.vocab, draw);
  }
  // Nucleus (Holtzman et al. 2019): candidates whose mass before is less than top_p of all; then min_p of the largest.
  Key limit = kAboveAll;
  if (sample.top_p < 1) {
    const double mass = sample.top_p * static_cast<double>(kept);
    limit = mass > 0 ? static_cast<Key>(ceil(mass)) - 1 : 0;
  }
  draw.least_mass = sample.min_p;
  if (sample.top_p < 1 || sample.min_p > 0) kept = draw.walk(max_count, limit).total;
  const uint64_t bits = mix(mix(mix(sample.seed) ^ sample.stream) ^ static_cast<uint64_t>(request.next_position));
  const double target = static_cast<double>(bits >> 11) * 0x1.0p-53 * static_cast<double>(kept);
  draw.least_mass = 0;
  return token_of(draw.walk(max_count, static_cast<Key>(target)).key);
}

__global__ void __launch_bounds__(HeadParams::kThreads) answer_kernel(const HeadParams p) {
  SharedArena arena;
  const Shared<Key> keys = arena.take<Key>(HeadParams::kCandidates), masses = arena.take<Key>(HeadParams::kCandidates);
  const Shared<Key> found = arena.take<Key>(8);
  const Shared<int> count = arena.take<int>(1);
  const int index = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const TokenRequest request = p.requests[index];
  const Global<const float> logits = p.logits + static_cast<int64_t>(request.row) * p.vocab;
  LogitStats stats = no_stats();
  for (int part = 0; part < num_stats(p.vocab); ++part) {
    stats = merge_stats(stats, p.stats[static_cast<int64_t>(request.row) * num_stats(p.vocab) + part]);
  }
  const double log_total = static_cast<double>(stats.largest) + log(stats.sum);
  const auto logprob = [&](int token) { return static_cast<float>(static_cast<double>(logits[token]) - log_total); };
  TokenAnswer answer = {0, 0, -1, 0, stats.first_bad, stats.first_taken_out, stats.argmax != INT_MAX};
  const bool is_fine = stats.first_bad == INT_MAX && stats.argmax != INT_MAX;
  if (is_fine && request.target >= 0) {
    answer.target_logprob = logprob(request.target);
    answer.target_is_greedy = stats.argmax == request.target;
  }
  if (is_fine && request.top_n > 0) {
    Candidates candidates(logits, p.vocab, keys, count);
    Key bound = kAboveAll;
    for (int given = 0; given < request.top_n;) {
      candidates.load(bound, request.top_n - given);
      const int size = candidates.size() < request.top_n - given ? candidates.size() : request.top_n - given;
      if (size == 0) break;
      const int64_t place = static_cast<int64_t>(index) * p.max_top_n + given;
      for (int i = thread; i < size; i += HeadParams::kThreads) {
        p.top_ids[place + i] = token_of(candidates[i]);
        p.top_logprobs[place + i] = logprob(token_of(candidates[i]));
      }
      given += size;
      bound = candidates[size - 1];
    }
  }
  if (is_fine && request.is_sampled != 0) {
    const Global<float> changed = p.changed + static_cast<int64_t>(index) * p.vocab;
    change_logits(p, request.sample, logits, changed);
    Candidates candidates(changed, p.vocab, keys, count);
    answer.sampled_id = draw_token(p, request, changed, candidates, masses, found);
    if (answer.sampled_id >= 0) answer.sampled_logprob = logprob(answer.sampled_id);
  }
  if (thread == 0) p.answers[index] = answer;
}

}  // namespace

void answer(Stream& stream, const HeadParams& params) {
  if (params.vocab >= 1 << kTokenBits) {
    fail(ErrorCode::Unsupported, "Expected fewer than ", 1 << kTokenBits, " tokens on device cuda, got ", params.vocab,
         ".");
  }
  launch(stream, logit_stats_kernel,
         Grid{static_cast<unsigned>(num_stats(params.vocab)), static_cast<unsigned>(params.rows)},
         StatsParams::kInfo.max_threads, StatsParams::kInfo.max_shared_bytes, StatsParams{params});
  launch(stream, answer_kernel, Grid{static_cast<unsigned>(params.num_requests)}, HeadParams::kThreads,
         HeadParams::kInfo.max_shared_bytes, params);
}

}  // namespace moescope::cuda
