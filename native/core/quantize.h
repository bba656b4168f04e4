// From fp32 to the storage types of blocks.h: the blocks whose values, read back, are nearest to what was given.
//
// Each block is fitted on its own by least squares. For a guess of its scale every weight takes the nearest level; for those
// levels the best scale follows in closed form; guesses around the one that just spans the block are tried, and the best is
// kept. Types with groups inside a block fit the groups first, then the whole numbers that scale them, then the block's
// factor. What is minimised is the plain sum of squared differences, with the scales as they are stored. The arithmetic is
// fp32 in one fixed order: the same blocks on every machine and for every number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "core/blocks.h"

namespace moescope {

// Whether `quantize_row` makes blocks of this type.
bool can_quantize(DType type);

// Writes the blocks of `elements` values. Throws InvalidArgument unless `elements` is a whole number of blocks, Unsupported
// for a type that can only be read, and BadFile for a value that is not finite or too large for F16.
void quantize_row(DType type, const float* values, void* blocks, int64_t elements);

// Rows of one type as rows of another: read, fitted and written by `threads` threads that divide the rows. Where the types are
// the same the bytes are copied, after a look at those of float types. `first_row` only counts in messages. Throws what
// dequantize_row and quantize_row throw, and says in which row.
std::vector<uint8_t> convert_rows(DType from, const std::vector<uint8_t>& source, DType to, int64_t cols,
                                  int64_t first_row, int threads);

}  // namespace moescope
