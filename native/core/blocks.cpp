#include "core/blocks.h"

#include <array>

#include "core/blocks_rows.h"
#include "core/error.h"

namespace moescope {
namespace {

struct Format {
  const char* name;
  rows::RowFunction* decode;
};

constexpr std::array<Format, kDTypeCount> kFormats = {{
    {"F32", rows::f32},       {"F16", rows::f16},       {"BF16", rows::bf16},       {"Q4_0", rows::q4_0},
    {"Q4_1", rows::q4_1},     {"Q5_0", rows::q5_0},     {"Q5_1", rows::q5_1},       {"Q8_0", rows::q8_0},
    {"Q2_K", rows::q2_k},     {"Q3_K", rows::q3_k},     {"Q4_K", rows::q4_k},       {"Q5_K", rows::q5_k},
    {"Q6_K", rows::q6_k},     {"IQ1_S", rows::iq1_s},   {"IQ1_M", rows::iq1_m},     {"IQ2_XXS", rows::iq2_xxs},
    {"IQ2_XS", rows::iq2_xs}, {"IQ2_S", rows::iq2_s},   {"IQ3_XXS", rows::iq3_xxs}, {"IQ3_S", rows::iq3_s},
    {"IQ4_NL", rows::iq4_nl}, {"IQ4_XS", rows::iq4_xs}, {"TQ1_0", rows::tq1_0},     {"TQ2_0", rows::tq2_0},
    {"MXFP4", rows::mxfp4},   {"NVFP4", rows::nvfp4},
}};

}  // namespace

const char* dtype_name(DType type) { return kFormats[static_cast<size_t>(type)].name; }

std::optional<DType> parse_dtype(std::string_view name) {
  for (int i = 0; i < kDTypeCount; ++i) {
    if (name == kFormats[static_cast<size_t>(i)].name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

void dequantize_row(DType type, const void* blocks, float* values, int64_t elements) {
  const int block = block_shape(type).elements;
  if (elements < 0 || elements % block != 0) {
    fail(ErrorCode::InvalidArgument, "Expected a multiple of ", block, " elements for a row of ", dtype_name(type),
         ", got ", elements, ".");
  }
  kFormats[static_cast<size_t>(type)].decode(static_cast<const uint8_t*>(blocks), values, elements / block);
}

}  // namespace moescope
