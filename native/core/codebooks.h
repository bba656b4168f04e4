// Numbers that the file formats fix and that follow from no formula.
//
// They are those of ggml (https://github.com/ggml-org/ggml, MIT licence), whose files they define; the E2M1 numbers are
// of the OCP Microscaling Formats specification 1.0.
#pragma once

#include <array>
#include <cstdint>

namespace moescope {

// The sixteen levels of IQ4_NL and IQ4_XS.
inline constexpr std::array<float, 16> kIq4Values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                     1,    13,   25,  38,  53,  69,  89,  113};

// Twice the E2M1 numbers: sign, two exponent bits, one mantissa bit. Code 8 stands for +0.
inline constexpr std::array<float, 16> kFp4Doubled = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

using Point8 = std::array<int8_t, 8>;
using Point4 = std::array<int8_t, 4>;

// Points of the IQ types. Coordinates of IQ2 are 8, 25 or 43; of IQ3_XXS 4, 12, 20, 28, 36, 44, 52 or 62; of IQ3_S the
// odd numbers to 15; of IQ1 -1, 0 or 1.
extern const std::array<Point8, 256> kIq2XxsPoints;
extern const std::array<Point8, 512> kIq2XsPoints;
extern const std::array<Point8, 1024> kIq2SPoints;
extern const std::array<Point4, 256> kIq3XxsPoints;
extern const std::array<Point4, 512> kIq3SPoints;
extern const std::array<Point8, 2048> kIq1Points;

}  // namespace moescope
