#include "core/codebooks.h"

#include <cstddef>

#include "core/codebooks_bitmaps.h"

namespace moescope {
namespace {

// A codebook is a set of points whose coordinates come from a few levels, in ascending order of the number that has the
// levels' indices as digits, first coordinate lowest. So a bitmap over all such numbers says everything.
template <size_t kCount, size_t kSize, size_t kLevels, size_t kWords>
constexpr std::array<std::array<int8_t, kSize>, kCount> expand(const std::array<int8_t, kLevels>& levels,
                                                               const std::array<uint64_t, kWords>& bitmap) {
  std::array<std::array<int8_t, kSize>, kCount> points{};
  size_t found = 0;
  for (size_t number = 0; number < 64 * kWords; ++number) {
    if ((bitmap[number / 64] >> (number % 64) & 1u) == 0) continue;
    size_t digits = number;
    for (int8_t& coordinate : points[found]) {
      coordinate = levels[digits % kLevels];
      digits /= kLevels;
    }
    ++found;
  }
  // Reached at compile time only: a bitmap of another size does not compile.
  if (found != kCount) throw "a bitmap has another number of points than its codebook";
  return points;
}

constexpr std::array<int8_t, 3> kIq2Levels = {8, 25, 43};
constexpr std::array<int8_t, 8> kIq3XxsLevels = {4, 12, 20, 28, 36, 44, 52, 62};
constexpr std::array<int8_t, 8> kIq3SLevels = {1, 3, 5, 7, 9, 11, 13, 15};
constexpr std::array<int8_t, 3> kIq1Levels = {-1, 0, 1};

}  // namespace

constexpr std::array<Point8, 256> kIq2XxsPoints = expand<256, 8>(kIq2Levels, kIq2XxsBitmap);
constexpr std::array<Point8, 512> kIq2XsPoints = expand<512, 8>(kIq2Levels, kIq2XsBitmap);
constexpr std::array<Point8, 1024> kIq2SPoints = expand<1024, 8>(kIq2Levels, kIq2SBitmap);
constexpr std::array<Point4, 256> kIq3XxsPoints = expand<256, 4>(kIq3XxsLevels, kIq3XxsBitmap);
constexpr std::array<Point4, 512> kIq3SPoints = expand<512, 4>(kIq3SLevels, kIq3SBitmap);
constexpr std::array<Point8, 2048> kIq1Points = expand<2048, 8>(kIq1Levels, kIq1Bitmap);

}  // namespace moescope
