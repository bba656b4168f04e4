// Dequantisation against worked examples, and against the formats' definitions written a second time in double. The
// comparison with whole files of blocks that others dequantised is test/native/dequantize.test.ts.
#include "core/blocks.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/codebooks.h"
#include "test/check.h"

using namespace moescope;

namespace {

std::vector<float> dequantize(DType type, const std::vector<uint8_t>& blocks) {
  const BlockShape shape = block_shape(type);
  const size_t count = blocks.size() / static_cast<size_t>(shape.bytes);
  std::vector<float> values(count * static_cast<size_t>(shape.elements));
  dequantize_row(type, blocks.data(), values.data(), static_cast<int64_t>(values.size()));
  return values;
}

// Equal bits, or both NaN.
bool same(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

void put_half(std::vector<uint8_t>& block, int at, uint16_t half) {
  std::memcpy(&block[static_cast<size_t>(at)], &half, 2);
}

constexpr uint16_t kHalfOne = 0x3c00;

std::vector<DType> all_types() {
  std::vector<DType> types;
  for (int i = 0; i < kDTypeCount; ++i) types.push_back(static_cast<DType>(i));
  return types;
}

// A row of the worked examples: bytes (37k + 11) mod 256 with d = 0.0625 at `d_at` and dmin = 0.03125 at `min_at`.
struct Example {
  DType type;
  int d_at;
  int min_at;  // -1: none
  float y0, y1, y2, y3, y16, y31, last;
  double sum;
};

// Computed by ggml's own functions (MIT licence) from those bytes.
constexpr std::array<Example, 9> kExamples = {{
    {DType::Q4_0, 0, -1, -0.1875f, 0.125f, 0.4375f, -0.25f, -0.1875f, 0.0f, 0.0f, -1.3125},
    {DType::Q5_0, 0, -1, 0.5625f, -0.125f, 0.1875f, -0.5f, 0.875f, 0.0625f, 0.0625f, 0.9375},
    {DType::Q8_0, 0, -1, 5.3125f, 7.625f, -6.0625f, -3.75f, -5.6875f, -3.0f, -3.0f, -11.0},
    {DType::Q4_K, 0, 2, 19.71875f, -1.59375f, 8.09375f, 17.78125f, 19.71875f, 10.03125f, 3.03125f, 3402.5},
    {DType::Q5_K, 0, 2, 50.71875f, -1.59375f, 39.09375f, 17.78125f, 50.71875f, 10.03125f, 6.78125f, 7263.5},
    {DType::Q6_K, 208, -1, -89.4375f, 106.0f, 36.4375f, -33.125f, -27.0f, -6.0f, -3.75f, 288.25},
    {DType::Q2_K, 80, 82, 2.0625f, 0.0f, 0.6875f, 1.375f, -0.09375f, -0.09375f, 0.28125f, 128.6875},
    {DType::Q3_K, 108, -1, 5.0625f, -6.75f, 1.6875f, -3.375f, -6.0f, 4.0f, 2.625f, 59.875},
    {DType::IQ4_XS, 0, -1, 4.0625f, -0.0625f, -4.3125f, 5.1875f, 4.0625f, 2.1875f, -1.0f, -687.8125},
}};

// CRC-32 of IEEE 802.3, as in zlib.
uint32_t crc32(const void* data, size_t size) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < size; ++i) {
    crc ^= static_cast<const uint8_t*>(data)[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1u ? 0xedb88320u : 0u);
  }
  return ~crc;
}

struct Checksum {
  DType type;
  uint32_t crc;
};

// Of the values that gguf-py 0.19.0 (MIT licence) computes from 64 blocks of random bytes; see their case.
constexpr std::array<Checksum, kDTypeCount> kRandomBlocks = {{
    {DType::F32, 0xf034b499u},     {DType::F16, 0x2b64e91cu},    {DType::BF16, 0x7bd07eb8u},
    {DType::Q4_0, 0x22129513u},    {DType::Q4_1, 0xedba7d77u},   {DType::Q5_0, 0xd6c825e4u},
    {DType::Q5_1, 0x5027e83eu},    {DType::Q8_0, 0x178b87f4u},   {DType::Q2_K, 0xde116d3cu},
    {DType::Q3_K, 0xe1293d16u},    {DType::Q4_K, 0x8b887077u},   {DType::Q5_K, 0x615e4eb2u},
    {DType::Q6_K, 0xeebb68e0u},    {DType::IQ1_S, 0x91a4b929u},  {DType::IQ1_M, 0x5dbb5d49u},
    {DType::IQ2_XXS, 0xbcbc7966u}, {DType::IQ2_XS, 0x6ea3b2e9u}, {DType::IQ2_S, 0xc431a699u},
    {DType::IQ3_XXS, 0x95888723u}, {DType::IQ3_S, 0x80d4e171u},  {DType::IQ4_NL, 0xdcc9e525u},
    {DType::IQ4_XS, 0x5418477bu},  {DType::TQ1_0, 0x6341ea46u},  {DType::TQ2_0, 0x9b4d0770u},
    {DType::MXFP4, 0x419504ccu},   {DType::NVFP4, 0x6d0536eau},
}};

// E2M1 by its definition (OCP Microscaling Formats 1.0): sign, two exponent bits, one mantissa bit, bias 1.
double e2m1(int code) {
  const int exponent = (code >> 1) & 3;
  const double magnitude = exponent == 0 ? 0.5 * (code & 1) : std::ldexp(1.0 + 0.5 * (code & 1), exponent - 1);
  return (code & 8) != 0 ? -magnitude : magnitude;
}

}  // namespace

CASE("worked examples give their values") {
  for (const Example& example : kExamples) {
    std::vector<uint8_t> block(static_cast<size_t>(block_shape(example.type).bytes));
    for (size_t k = 0; k < block.size(); ++k) block[k] = static_cast<uint8_t>(37 * k + 11);
    put_half(block, example.d_at, 0x2c00);
    if (example.min_at >= 0) put_half(block, example.min_at, 0x2800);
    const std::vector<float> y = dequantize(example.type, block);
    const std::array<float, 7> actual = {y[0], y[1], y[2], y[3], y[16], y[31], y.back()};
    const std::array<float, 7> expected = {example.y0,  example.y1,  example.y2,  example.y3,
                                           example.y16, example.y31, example.last};
    for (size_t i = 0; i < actual.size(); ++i) CHECK_EQ(actual[i], expected[i]);
    double sum = 0;  // exact: every value is a small multiple of 2^-5
    for (const float value : y) sum += value;
    CHECK_EQ(sum, example.sum);
  }
}

CASE("random blocks of every type give the values that others compute") {
  for (const Checksum& expected : kRandomBlocks) {
    check::Random random(7);
    std::vector<uint8_t> blocks(64 * static_cast<size_t>(block_shape(expected.type).bytes));
    for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random.bits());
    std::vector<float> values = dequantize(expected.type, blocks);
    // Random scales are sometimes NaN, of which neither sign nor payload counts.
    for (float& value : values) value = std::isnan(value) ? std::bit_cast<float>(0x7fc00000u) : value;
    const uint32_t crc = crc32(values.data(), values.size() * sizeof(float));
    if (crc != expected.crc) check::report(__FILE__, __LINE__, dtype_name(expected.type), ": other values");
  }
}

CASE("names are those of the file formats and parse back") {
  for (const DType type : all_types()) {
    const std::optional<DType> parsed = parse_dtype(dtype_name(type));
    CHECK(parsed.has_value() && *parsed == type);
  }
  CHECK_EQ(std::string(dtype_name(DType::F32)), "F32");
  CHECK_EQ(std::string(dtype_name(DType::Q4_K)), "Q4_K");
  CHECK_EQ(std::string(dtype_name(DType::IQ3_XXS)), "IQ3_XXS");
  CHECK_EQ(std::string(dtype_name(DType::NVFP4)), "NVFP4");
  for (const char* wrong : {"", "q4_k", "Q4_K ", "Q4_", "Q8_K", "F64"}) CHECK(!parse_dtype(wrong).has_value());
}

CASE("a row of half a block, or of less than none, is refused") {
  std::vector<float> values(256);
  const std::vector<uint8_t> blocks(1024);
  CHECK_FAILS(dequantize_row(DType::Q4_0, blocks.data(), values.data(), 33), InvalidArgument);
  CHECK_FAILS(dequantize_row(DType::Q4_K, blocks.data(), values.data(), 128), InvalidArgument);
  CHECK_FAILS(dequantize_row(DType::F32, blocks.data(), values.data(), -1), InvalidArgument);
  dequantize_row(DType::Q4_0, nullptr, nullptr, 0);
}

CASE("blocks are independent, may lie at any address, and only their values are written") {
  check::Random random(1);
  for (const DType type : all_types()) {
    const BlockShape shape = block_shape(type);
    const auto elements = static_cast<size_t>(shape.elements);
    const auto bytes = static_cast<size_t>(shape.bytes);
    constexpr size_t kBlocks = 37;
    std::vector<uint8_t> blocks(kBlocks * bytes);
    for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random.bits());
    const std::vector<float> expected = dequantize(type, blocks);
    for (size_t shift = 1; shift < 8; ++shift) {
      std::vector<uint8_t> shifted(shift + blocks.size());
      std::memcpy(&shifted[shift], blocks.data(), blocks.size());
      std::vector<float> values(expected.size() + 1, 12345.0f);
      dequantize_row(type, &shifted[shift], values.data(), static_cast<int64_t>(expected.size()));
      for (size_t i = 0; i < expected.size(); ++i) CHECK(same(values[i], expected[i]));
      CHECK_EQ(values.back(), 12345.0f);
    }
    for (size_t b = 0; b < kBlocks; ++b) {
      const auto first = blocks.begin() + static_cast<std::ptrdiff_t>(b * bytes);
      const std::vector<float> one = dequantize(type, {first, first + shape.bytes});
      for (size_t i = 0; i < elements; ++i) CHECK(same(one[i], expected[b * elements + i]));
    }
  }
}

CASE("scales that are subnormal halves count in full") {
  std::vector<uint8_t> block(34);
  put_half(block, 0, 0x8001);  // -2^-24
  for (int i = 0; i < 32; ++i) block[static_cast<size_t>(2 + i)] = static_cast<uint8_t>(i - 16);
  const std::vector<float> y = dequantize(DType::Q8_0, block);
  for (int i = 0; i < 32; ++i) CHECK(same(y[static_cast<size_t>(i)], static_cast<float>(i - 16) * -0x1p-24f));

  std::vector<uint8_t> tenth(210, 0);
  put_half(tenth, 208, 0x03ff);  // 1023 * 2^-24, the largest subnormal
  for (int s = 0; s < 16; ++s) tenth[static_cast<size_t>(192 + s)] = 0x80;
  for (const float value : dequantize(DType::Q6_K, tenth)) CHECK_EQ(value, 1023 * 0x1p-24f * -128 * -32);
}

CASE("MXFP4: every scale and code") {
  for (int e = 0; e < 256; ++e) {
    std::vector<uint8_t> block(17);
    block[0] = static_cast<uint8_t>(e);
    for (int i = 0; i < 16; ++i) block[static_cast<size_t>(1 + i)] = static_cast<uint8_t>(i | (15 - i) << 4);
    const std::vector<float> y = dequantize(DType::MXFP4, block);
    for (int i = 0; i < 16; ++i) {
      // Beyond the range of fp32 for the largest scales: infinite, as the rounding of the exact number is.
      CHECK_EQ(y[static_cast<size_t>(i)], static_cast<float>(std::ldexp(e2m1(i), e - 127)));
      CHECK_EQ(y[static_cast<size_t>(16 + i)], static_cast<float>(std::ldexp(e2m1(15 - i), e - 127)));
    }
  }
}

CASE("NVFP4: every scale, codes by group and half") {
  for (int e = 0; e < 256; ++e) {
    std::vector<uint8_t> block(36);
    for (int group = 0; group < 4; ++group) block[static_cast<size_t>(group)] = static_cast<uint8_t>(e + group);
    for (int i = 0; i < 32; ++i) block[static_cast<size_t>(4 + i)] = static_cast<uint8_t>(i % 16 | (31 - i) % 16 << 4);
    const std::vector<float> y = dequantize(DType::NVFP4, block);
    for (int i = 0; i < 64; ++i) {
      const int scale_bits = (e + i / 16) & 255;
      const int exponent = (scale_bits >> 3) & 15;
      const int mantissa = scale_bits & 7;
      double scale = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
      if (scale_bits == 127) scale = 0;
      const int byte = 8 * (i / 16) + i % 8;
      const int code = i % 16 < 8 ? byte % 16 : (31 - byte) % 16;
      CHECK_EQ(y[static_cast<size_t>(i)], static_cast<float>(scale * e2m1(code)));
    }
  }
}

CASE("TQ1_0: digits that were packed come out") {
  check::Random random(2);
  // Element of digit k of byte b, from the layout: five digits for 32 bytes, for 16 bytes, then four for 4 bytes.
  const auto element = [](int byte, int digit) {
    if (byte < 32) return 32 * digit + byte;
    if (byte < 48) return 160 + 16 * digit + byte - 32;
    return 240 + 4 * digit + byte - 48;
  };
  for (int round = 0; round < 50; ++round) {
    std::vector<uint8_t> block(54);
    put_half(block, 52, kHalfOne);
    std::vector<float> expected(256);
    for (int byte = 0; byte < 52; ++byte) {
      const int digits = byte < 48 ? 5 : 4;
      int number = 0;
      for (int digit = 0; digit < digits; ++digit) {
        const int trit = random.below(3);
        number = 3 * number + trit;
        expected[static_cast<size_t>(element(byte, digit))] = static_cast<float>(trit - 1);
      }
      if (digits == 4) number *= 3;
      block[static_cast<size_t>(byte)] = static_cast<uint8_t>((number * 256 + 242) / 243);  // the fraction, rounded up
    }
    const std::vector<float> y = dequantize(DType::TQ1_0, block);
    for (size_t i = 0; i < 256; ++i) CHECK_EQ(y[i], expected[i]);
  }
}

CASE("codebooks are those of ggml") {
  // CRC-32 of the tables that gguf-py 0.19.0 expands, as int8 in row-major order.
  CHECK_EQ(crc32(&kIq2XxsPoints, sizeof kIq2XxsPoints), 0x9924ff02u);
  CHECK_EQ(crc32(&kIq2XsPoints, sizeof kIq2XsPoints), 0xfa1e1bfdu);
  CHECK_EQ(crc32(&kIq2SPoints, sizeof kIq2SPoints), 0x25ae5bf1u);
  CHECK_EQ(crc32(&kIq3XxsPoints, sizeof kIq3XxsPoints), 0x07ba9ed0u);
  CHECK_EQ(crc32(&kIq3SPoints, sizeof kIq3SPoints), 0xf576e4f3u);
  CHECK_EQ(crc32(&kIq1Points, sizeof kIq1Points), 0xb85e6ccfu);
}

CASE("seven signs make eight of even number") {
  for (int seven = 0; seven < 128; ++seven) {
    std::vector<uint8_t> block(74);
    put_half(block, 0, kHalfOne);
    const auto code = static_cast<uint16_t>(seven << 9);
    std::memcpy(&block[2], &code, 2);
    const std::vector<float> y = dequantize(DType::IQ2_XS, block);
    int negative = 0;
    for (int i = 0; i < 8; ++i) {
      negative += y[static_cast<size_t>(i)] < 0 ? 1 : 0;
      if (i < 7) CHECK_EQ(y[static_cast<size_t>(i)] < 0, ((seven >> i) & 1) == 1);
    }
    CHECK_EQ(negative % 2, 0);
  }
}
