// Compiled with AVX-512 BF16 and AMX BF16. A tile is up to 16 rows of 64 bytes; one instruction multiplies 16 weight rows with 16 rows of
// activations over a step of 32 elements: in each step the products of even and of odd elements are summed apart by fused multiply-adds
// in ascending order, both sums are added, then added to the total. Subnormals count as zero.
//
// Tiles: 0 to 3 totals of four blocks of activations, 4 weights, 5 and 6 activations, 7 low parts of weights.
#include "cpu/arch/amx_tiles.h"
#include "cpu/arch/bf16_unpack_avx512.h"
#include "cpu/arch/transpose_avx512.h"

namespace moescope {
namespace {

constexpr int kSegmentSteps =
    8;  // steps that are unpacked at once: a block of most types, and two segments stay in the first cache
constexpr int kRowsAtOnce = 8;  // rows that are unpacked between steps
constexpr int64_t kSegment = kSegmentSteps * kBf16Step;
constexpr int kMaxBlocks = 4;   // blocks of 16 rows of activations whose totals the tiles hold
constexpr int kMaxRows = 1024;  // rows of activations that meet a segment while it is unpacked
constexpr int kTotals = 256;    // numbers in a tile of totals

// Blocks of equal height that are multiplied together.
struct Pass {
  const uint16_t* high;  // of the first block
  const uint16_t* low;
  int64_t block_words;  // from one block to the next
  int rows;             // of a block
};

template <int kBlock, bool kLow>
inline void block_step(const Pass& pass, int64_t step) {
  const int64_t at = kBlock * pass.block_words + step * kBf16Step * pass.rows, stride = 4 * pass.rows;
  tile_load<5>(pass.high + at, stride);
  multiply_add<kBlock, 4, 5>();
  if (!kLow) return;
  multiply_add<kBlock, 7, 5>();
  tile_load<6>(pass.low + at, stride);
  multiply_add<kBlock, 4, 6>();
}

// One step of all blocks: `step` in the row, the weights already unpacked.
template <int kBlocks, bool kLow>
inline void pass_step(const uint16_t* weights, const uint16_t* low_weights, const Pass& pass, int64_t step) {
  tile_load<4>(weights, 64);
  if (kLow) tile_load<7>(low_weights, 64);
  block_step<0, kLow>(pass, step);
  if constexpr (kBlocks > 1) block_step<1, kLow>(pass, step);
  if constexpr (kBlocks > 2) block_step<2, kLow>(pass, step);
  if constexpr (kBlocks > 3) block_step<3, kLow>(pass, step);
}

template <int kBlocks>
inline void zero_totals() {
  tile_zero<0>();
  if constexpr (kBlocks > 1) tile_zero<1>();
  if constexpr (kBlocks > 2) tile_zero<2>();
  if constexpr (kBlocks > 3) tile_zero<3>();
}

template <int kBlocks>
inline void store_totals(float* totals, int rows) {
  tile_store<0>(totals, 4 * rows);
  if constexpr (kBlocks > 1) tile_store<1>(totals + kTotals, 4 * rows);
  if constexpr (kBlocks > 2) tile_store<2>(totals + 2 * kTotals, 4 * rows);
  if constexpr (kBlocks > 3) tile_store<3>(totals + 3 * kTotals, 4 * rows);
}

template <int kBlocks>
inline void load_totals(const float* totals, int rows) {
  tile_load<0>(totals, 4 * rows);
  if constexpr (kBlocks > 1) tile_load<1>(totals + kTotals, 4 * rows);
  if constexpr (kBlocks > 2) tile_load<2>(totals + 2 * kTotals, 4 * rows);
  if constexpr (kBlocks > 3) tile_load<3>(totals + 3 * kTotals, 4 * rows);
}

// Weights as parts: a segment of a tile of 16 rows. All segments of a tile come before the next tile.
class Unpacker {
 public:
  Unpacker(const Bf16Weights& w, std::byte* scratch)
      : w_(w),
        unpack_(row_unpack(w.dtype)),
        num_segments_((w.length + kSegment - 1) / kSegment),
        buffers_(reinterpret_cast<uint16_t*>(scratch)) {}

  static constexpr int64_t kBytes = 4 * kSegment * kBf16TileRows * 2;  // two parts, high and low

  int64_t num_segments() const { return num_segments_; }
  int64_t num_tiles() const { return (w_.num_rows + kBf16TileRows - 1) / kBf16TileRows; }
  int64_t num_parts() const { return num_tiles() * num_segments_; }
  int num_steps(int64_t segment) const {
    const int64_t left = bf16_padded(w_.length) - segment * kSegment;
    return static_cast<int>(left < kSegment ? left / kBf16Step : kSegmentSteps);
  }
  // Of the last two parts that were unpacked.
  const uint16_t* high(int64_t part) const { return buffers_ + part % 2 * 2 * kSegmentSteps * kStepWords; }
  const uint16_t* low(int64_t part) const { return high(part) + kSegmentSteps * kStepWords; }

  // Rows that a last tile lacks stay what they were: they meet no total that is written.
  void unpack_rows(int64_t part, int row, int count) {
    const int64_t at = part / num_segments_ * kBf16TileRows + row, first = part % num_segments_ * kSegment;
    const int64_t rows = w_.num_rows - at < count ? w_.num_rows - at : count;
    if (rows <= 0) return;
    uint16_t* out = const_cast<uint16_t*>(high(part)) + row * kBf16Step;
    const int64_t left = w_.length - first;
    unpack_(
        {w_.rows + at * w_.row_bytes, w_.row_bytes, static_cast<int>(rows), first, left < kSegment ? left : kSegment},
        out, out + kSegmentSteps * kStepWords);
  }
  void unpack(int64_t part) { unpack_rows(part, 0, kBf16TileRows); }

 private:
  const Bf16Weights& w_;
  RowUnpack unpack_;
  int64_t num_segments_;
  uint16_t* buffers_;
};

// A tile of totals, (16 weight rows, rows of activations), to rows of y.
inline void write_block(const float* totals, int num_x, int num_columns, float* y, int64_t y_stride) {
  const auto mask = static_cast<__mmask16>(num_columns < 16 ? (1u << num_columns) - 1 : 0xFFFFu);
  if (num_x == 1) {
    _mm512_mask_storeu_ps(y, mask, _mm512_load_ps(totals));
    return;
  }
  const auto inside = static_cast<__mmask16>((1u << num_x) - 1);
  __m512i rows[16];
#pragma GCC unroll 16
  for (int row = 0; row < 16; ++row) rows[row] = _mm512_maskz_loadu_epi32(inside, totals + row * num_x);
  transpose_words(rows);
#pragma GCC unroll 16
  for (int row = 0; row < 16; ++row) {
    if (row < num_x) _mm512_mask_storeu_ps(y + row * y_stride, mask, _mm512_castsi512_ps(rows[row]));
  }
}

// Where products go: (rows of activations, columns).
struct Output {
  float* y;
  int64_t stride;
  int num_columns;
};

// All rows of activations in one pass: the totals stay in the tiles, and the next part is unpacked between the steps of this one.
template <int kBlocks, bool kLow>
void multiply_once(Unpacker& weights, const Pass& pass, float* totals, const Output& out) {
  configure(pass.rows);
  const int64_t num_parts = weights.num_parts(), num_segments = weights.num_segments();
  weights.unpack(0);
  for (int64_t part = 0; part < num_parts; ++part) {
    const int64_t segment = part % num_segments;
    if (segment == 0) zero_totals<kBlocks>();
    const int num_steps = weights.num_steps(segment);
    for (int row = 0, i = 0; row < kBf16TileRows; row += kRowsAtOnce) {
      if (part + 1 < num_parts) weights.unpack_rows(part + 1, row, kRowsAtOnce);
      for (; i < (row + kRowsAtOnce) * num_steps / kBf16TileRows; ++i) {
        pass_step<kBlocks, kLow>(weights.high(part) + i * kStepWords, weights.low(part) + i * kStepWords, pass,
                                 segment * kSegmentSteps + i);
      }
    }
    if (segment + 1 < num_segments) continue;
    store_totals<kBlocks>(totals, pass.rows);
    const int column = static_cast<int>(part / num_segments) * kBf16TileRows;
    for (int block = 0; block < kBlocks; ++block) {
      write_block(totals + block * kTotals, pass.rows, out.num_columns - column,
                  out.y + block * kBf16PackRows * out.stride + column, out.stride);
    }
  }
  release();
}

// One part in one of many passes; the totals come from memory and go there.
template <int kBlocks, bool kLow>
void multiply_part(const Unpacker& weights, int64_t part, const Pass& pass, float* totals) {
  const int64_t segment = part % weights.num_segments();
  if (segment == 0) {
    zero_totals<kBlocks>();
  } else {
    load_totals<kBlocks>(totals, pass.rows);
  }
  const int num_steps = weights.num_steps(segment);
  for (int i = 0; i < num_steps; ++i) {
    pass_step<kBlocks, kLow>(weights.high(part) + i * kStepWords, weights.low(part) + i * kStepWords, pass,
                             segment * kSegmentSteps + i);
  }
  store_totals<kBlocks>(totals, pass.rows);
}

template <template <int, bool> class Function, typename... Arguments>
inline void with_shape(int num_blocks, bool has_low, Arguments&&... arguments) {
  const auto with_low = [&]<bool kLow>() {
    switch (num_blocks) {
      case 1: return Function<1, kLow>::call(arguments...);
      case 2: return Function<2, kLow>::call(arguments...);
      case 3: return Function<3, kLow>::call(arguments...);
      default: return Function<4, kLow>::call(arguments...);
    }
  };
  if (has_low) return with_low.template operator()<true>();
  return with_low.template operator()<false>();
}

template <int kBlocks, bool kLow>
struct Once {
  static void call(Unpacker& weights, const Pass& pass, float* totals, const Output& out) {
    multiply_once<kBlocks, kLow>(weights, pass, totals, out);
  }
};
template <int kBlocks, bool kLow>
struct Part {
  static void call(const Unpacker& weights, int64_t part, const Pass& pass, float* totals) {
    multiply_part<kBlocks, kLow>(weights, part, pass, totals);
  }
};

// Passes over rows [first, first + count): up to four whole blocks each, then the last block if it is not whole.
template <typename Function>
inline void for_passes(const Bf16Input& x, int64_t padded, int first, int count, Function function) {
  for (int done = 0; done < count;) {
    const int left = count - done, whole = left / kBf16PackRows;
    const int num_blocks = whole > kMaxBlocks ? kMaxBlocks : whole > 0 ? whole : 1;
    const int rows = whole > 0 ? kBf16PackRows : left;
    const int64_t at = (first + done) * padded;
    const Pass pass = {x.high + at, x.low == nullptr ? nullptr : x.low + at, kBf16PackRows * padded, rows};
    function(pass, num_blocks, done);
    done += num_blocks * rows;
  }
}

// Rows [first, first + count) of activations in several passes: every part of the weights is unpacked once for all of them.
void multiply_in_passes(Unpacker& weights, const Bf16Weights& w, const Bf16Input& x, int first, int count,
                        float* totals, const Output& out) {
  const bool has_low = needs_low_part(w.dtype);
  const int64_t num_segments = weights.num_segments();
  for (int64_t part = 0; part < weights.num_parts(); ++part) {
    weights.unpack(part);
    int configured = 0;
    for_passes(x, bf16_padded(w.length), first, count, [&](const Pass& pass, int num_blocks, int done) {
      if (configured != pass.rows) configure(configured = pass.rows);
      with_shape<Part>(num_blocks, has_low, weights, part, pass, totals + done * kBf16TileRows);
    });
    release();
    if ((part + 1) % num_segments != 0) continue;
    const int column = static_cast<int>(part / num_segments) * kBf16TileRows;
    for (int done = 0; done < count; done += kBf16PackRows) {
      const int rows = count - done < kBf16PackRows ? count - done : kBf16PackRows;
      write_block(totals + done * kBf16TileRows, rows, out.num_columns - column, out.y + done * out.stride + column,
                  out.stride);
    }
  }
}

void multiply(const Bf16Weights& w, const Bf16Input& x, std::byte* scratch, float* y, int64_t y_stride) {
  Unpacker weights(w, scratch);
  float* totals = reinterpret_cast<float*>(scratch + Unpacker::kBytes);
  for (int first = 0; first < x.num_rows; first += kMaxRows) {
    const int count = x.num_rows - first < kMaxRows ? x.num_rows - first : kMaxRows;
    const Output out = {y + first * y_stride, y_stride, w.num_rows};
    const bool is_one_pass =
        count <= kBf16PackRows || (count % kBf16PackRows == 0 && count <= kMaxBlocks * kBf16PackRows);
    if (!is_one_pass) {
      multiply_in_passes(weights, w, x, first, count, totals, out);
      continue;
    }
    for_passes(x, bf16_padded(w.length), first, count, [&](const Pass& pass, int num_blocks, int) {
      with_shape<Once>(num_blocks, needs_low_part(w.dtype), weights, pass, totals, out);
    });
  }
}

void pack_one(const float* x, int64_t length, uint16_t* high, uint16_t* low) {
  for (int64_t start = 0; start < length; start += kBf16Step) {
    const uint32_t mask = first_words(length - start);
    split(_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x + start),
          _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + start + 16), high + start,
          low == nullptr ? nullptr : low + start);
  }
}

// Rows of a block side by side: pairs of elements of each row, as the instruction wants them.
void pack(const float* const* x, int num_x, int64_t length, uint16_t* high, uint16_t* low) {
  if (num_x == 1) return pack_one(x[0], length, high, low);
  const auto inside = static_cast<__mmask16>((1u << num_x) - 1);
  const auto put = [&](__m512i(&rows)[16], uint16_t* out) {
    transpose_words(rows);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) _mm512_mask_storeu_epi32(out + 2 * i * num_x, inside, rows[i]);
  };
  for (int64_t start = 0; start < length; start += kBf16Step) {
    __m512i rows[16], low_rows[16];
    for (int row = 0; row < 16; ++row) {
      rows[row] = low_rows[row] = _mm512_setzero_si512();
      if (row >= num_x) continue;
      const uint32_t mask = first_words(length - start);
      const float* from = x[row] + start;
      alignas(64) uint16_t words[2 * kBf16Step];
      split(_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from),
            _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), from + 16), words,
            low == nullptr ? nullptr : words + kBf16Step);
      rows[row] = _mm512_load_si512(words);
      if (low != nullptr) low_rows[row] = _mm512_load_si512(words + kBf16Step);
    }
    put(rows, high + start * num_x);
    if (low != nullptr) put(low_rows, low + start * num_x);
  }
}

}  // namespace

const Bf16Kernels kAmxKernels = {"amx", Unpacker::kBytes + kMaxRows* kBf16TileRows * 4, pack, multiply};

}  // namespace moescope
