// y = x W^T for a matrix as stored, in tiles of 16 weight rows that all rows of x meet. Precision `ref` dequantises the tile to fp32;
// precision `fast` unpacks it to integers or to bf16, and meets activations that were rounded likewise.
#pragma once

#include <initializer_list>
#include <vector>

#include "core/weights.h"
#include "cpu/arch/bf16_kernels.h"
#include "cpu/arch/int_kernels.h"
#include "cpu/arch/kernels.h"
#include "cpu/fast_kernels.h"

namespace moescope {

constexpr int kTileRows = kTileColumns;  // weight rows that are unpacked at once
static_assert(kTileRows == kBf16TileRows);

// Weight rows [first, end), whole tiles but for the last.
struct RowRange {
  int64_t first;
  int64_t end;
};

// What one thread does at a time of a product with `num_x` rows of activations: so many weights that claiming and the beginning of a
// stream from memory do not count, so few that nobody waits long for a thread that lost its core.
int64_t num_items(const Matrix& w, int64_t num_x);
RowRange item_rows(const Matrix& w, int64_t num_x, int64_t item);

// Memory that begins at a cache line and grows; what it held is lost then.
class AlignedRoom {
 public:
  std::byte* at_least(int64_t size);

 private:
  std::vector<std::byte> bytes_;
};

// A thread's room for unpacked weights; grows to the largest tile met.
struct Scratch {
  std::vector<float> floats;
  IntTile integers;
  AlignedRoom bf16;
};

// The kernels of one precision on one machine.
struct MatmulKernels {
  const Kernels& floats;
  const FastKernels* fast;  // null: precision `ref`

  // What both sides of a product with this matrix are made of.
  enum class Form : uint8_t { Floats, Integers, Bf16 };
  Form form(const Matrix& w) const;
};

// The forms of activations that some matrices want.
struct InputForms {
  bool floats = false, integers = false, bf16 = false, low_part = false;

  void add(const MatmulKernels& kernels, const Matrix& w);
};

// The left side of a product: the same rows in every form that was asked for.
struct MatmulInput {
  int num_rows = 0;
  const float* floats = nullptr;     // (num_rows, cols)
  const IntRow* integers = nullptr;  // (num_rows)
  Bf16Input bf16 = {};
};

// Activations of several rows, in the forms that products want. Blocks of them are filled one by one, by any thread.
class LeftSide {
 public:
  // Rows of `length` elements, each wherever it lies. Rows [starts[g], starts[g + 1]) are multiplied together, whole: a group.
  void prepare(const MatmulKernels& kernels, InputForms forms, std::vector<const float*> rows,
               const std::vector<int64_t>& starts, int64_t length);
  // One group of rows that follow one another.
  void prepare(const MatmulKernels& kernels, InputForms forms, const float* rows, int64_t num_rows, int64_t length);

  struct Block {
    int64_t first;
    int count;  // 1 to 16 rows
  };
  int64_t num_blocks() const { return static_cast<int64_t>(blocks_.size()); }
  const Block& block(int64_t index) const { return blocks_[index]; }
  void fill(int64_t block);

  MatmulInput group(int64_t first, int64_t count) const;

 private:
  void fill_integers(int64_t row);

  const FastKernels* fast_ = nullptr;
  InputForms forms_;
  int64_t length_ = 0;
  std::vector<const float*> sources_;
  std::vector<Block> blocks_;
  bool is_gathered_ = false;
  std::vector<float> floats_;  // rows one after another, if they are not so already
  std::vector<int8_t> q_;
  std::vector<float> scales_;
  std::vector<int32_t> sums_;
  std::vector<IntRow> integers_;
  AlignedRoom high_room_, low_room_;
  uint16_t* high_ = nullptr;
  uint16_t* low_ = nullptr;
};

// Some columns of y = x W^T.
void matmul_rows(const MatmulKernels& kernels, const MatmulInput& input, const Matrix& w, RowRange rows,
                 Scratch& scratch,
                 float* y);  // (num_rows, w.rows)

}  // namespace moescope
