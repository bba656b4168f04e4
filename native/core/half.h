// Conversions between fp32 and the two 16-bit float formats, by integer and plain fp32 arithmetic: the same bits on
// every machine, with or without hardware support, subnormals too, even where the processor is set to flush them.
#pragma once

#include <bit>
#include <cstdint>

namespace moescope {

// IEEE binary16 bits to fp32. Exact for every input; the payload and sign of a NaN are kept.
constexpr float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7fffu;
  // Re-bias the exponent from 15 to 127; infinities and NaNs go on to exponent 255.
  const uint32_t normal = (magnitude << 13) + (112u << 23) + (magnitude >= 0x7c00u ? 112u << 23 : 0u);
  // A subnormal is magnitude * 2^-24, and 2^-24 is the distance of neighbours in [0.5, 1): this subtraction is exact.
  const float subnormal = std::bit_cast<float>(0x3f000000u | magnitude) - 0.5f;
  // A mask in place of a branch lets compilers vectorise loops over this function.
  const uint32_t is_subnormal = magnitude < 0x0400u ? ~0u : 0u;
  return std::bit_cast<float>(sign | (std::bit_cast<uint32_t>(subnormal) & is_subnormal) | (normal & ~is_subnormal));
}

// fp32 to IEEE binary16 bits, rounded to nearest, ties to even; overflow gives infinity, a NaN stays a (quiet) NaN.
constexpr uint16_t float_to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t half = 0;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | ((magnitude >> 13) & 0x03ffu);
  } else if (magnitude >= 0x477ff000u) {  // 65520 is halfway between 65504 and 2^16: it and all above become infinite
    half = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {  // 2^-14, the smallest normal half
    const uint32_t rebiased = magnitude - (112u << 23);
    half = (rebiased + 0x0fffu + ((rebiased >> 13) & 1u)) >> 13;
  } else {
    // The sum lies in [0.5, 1), where neighbours are 2^-24 apart: the addition itself rounds to the grid of subnormals.
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  }
  return static_cast<uint16_t>(sign | half);
}

// bfloat16 bits to fp32. Exact for every input.
constexpr float bf16_to_float(uint16_t bf16) { return std::bit_cast<float>(static_cast<uint32_t>(bf16) << 16); }

// fp32 to bfloat16 bits, rounded to nearest, ties to even; overflow gives infinity, a NaN stays a (quiet) NaN.
constexpr uint16_t float_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet = (bits >> 16) | 0x0040u;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

}  // namespace moescope
