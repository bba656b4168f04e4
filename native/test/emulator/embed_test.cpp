// cuda/embed.cu against dequantize_row() of the core, bit for bit.
#include "cuda/embed.h"

#include <cstring>

#include "core/blocks.h"
#include "cuda/packed.h"
#include "device_values.h"
#include "test/check.h"
#include "test/random_blocks.h"

using namespace moescope;
using namespace moescope::check;

CASE("rows of every type that the card takes have the bits of the file") {
  Random random(5);
  int num_types = 0;
  for (int index = 0; index < kDTypeCount; ++index) {
    const DType type = static_cast<DType>(index);
    if (!cuda::can_pack(type)) continue;
    ++num_types;
    const BlockShape shape = block_shape(type);
    const int vocab = 7, hidden = shape.elements == 1 ? 37 : 768;
    const int64_t row_bytes = static_cast<int64_t>(hidden) / shape.elements * shape.bytes;
    const std::vector<uint8_t> table = random_blocks(type, vocab, hidden, random);
    const std::vector<int32_t> tokens = {6, 0, 3, 3, 5};
    cuda::Stream stream;
    const cuda::DeviceBuffer device_table = on_device(stream, table), device_tokens = on_device(stream, tokens);
    const cuda::DeviceBuffer x(tokens.size() * hidden * sizeof(float));
    cuda::embed(stream, static_cast<int>(tokens.size()),
                {.type = type,
                 .table = device_table.as<const uint8_t>(),
                 .row_bytes = row_bytes,
                 .hidden = hidden,
                 .vocab = vocab,
                 .tokens = device_tokens.as<const int32_t>(),
                 .x = x.as<float>()});
    const std::vector<float> got = on_host<float>(stream, x);
    for (size_t row = 0; row < tokens.size(); ++row) {
      std::vector<float> expected(hidden);
      dequantize_row(type, table.data() + tokens[row] * row_bytes, expected.data(), hidden);
      if (std::memcmp(&got[row * hidden], expected.data(), hidden * sizeof(float)) != 0) {
        report(__FILE__, __LINE__, dtype_name(type), ": row ", row, " differs");
      }
    }
  }
  CHECK_EQ(num_types, 11);
}

CASE("a type without such a kernel is refused by name") {
  cuda::Stream stream;
  CHECK_FAILS(cuda::embed(stream, 1, {.type = DType::IQ1_S}), Unsupported);
}
