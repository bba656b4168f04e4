// Packed weights hold the values of core/blocks.h, bit for bit, wherever they lie.
#include "cuda/pack.cuh"

#include <bit>

#include "cuda/product.cuh"
#include "product_values.h"
#include "test/check.h"

using namespace moescope;
using namespace moescope::check;

namespace {

struct ReadParams {
  static constexpr cuda::KernelInfo kInfo{"read_packed", 32};
  cuda::PackedMatrix matrix;
  cuda::Global<float> out;  // (packed rows, 128 quads)
};

// Every element of a group of rows, by the functions that products use.
template <DType kType>
void read_packed(const ReadParams& p) {
  constexpr cuda::PackedShape kShape = cuda::packed_shape(kType);
  const int lane = static_cast<int>(threadIdx.x), quads = p.matrix.quads();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * 32 + lane;
  for (int quad = 0; quad < quads; ++quad) {
    const auto group = p.matrix.group(blockIdx.x);
    const auto record = group + cuda::quad_offset(kShape, quad);
    const auto out = p.out + (row * quads + quad) * cuda::kQuad;
    if constexpr (!cuda::is_integer_type(kType)) {
      for (int e = 0; e < cuda::kQuad; ++e) {
        const auto at = record + cuda::element_offset<kType>(lane, e);
        out[e] = kType == DType::F32    ? *cuda::as<const float>(at)
                 : kType == DType::BF16 ? cuda::float_of_bf16(*cuda::as<const uint16_t>(at))
                                        : cuda::float_of_half(*cuda::as<const uint16_t>(at));
      }
    } else {
      uint4 low[kShape.low / 16], high[2] = {};
      for (int chunk = 0; chunk < kShape.low / 16; ++chunk) {
        low[chunk] = *cuda::as<const uint4>(record + (chunk * 32 + lane) * 16);
      }
      for (int chunk = 0; chunk < kShape.high / 16; ++chunk) {
        high[chunk] = *cuda::as<const uint4>(record + kShape.low * 32 + (chunk * 32 + lane) * 16);
      }
      const auto scales = cuda::load_scales<kType>(record, group + cuda::shared_offset(kShape, quad), lane);
      for (int unit = 0; unit < cuda::kQuadUnits; ++unit) {
        cuda::RowUnit<kType> codes;
        codes.read(low, high, scales, unit);
        for (int i = 0; i < cuda::kUnit; ++i) {
          const int code = static_cast<int8_t>(codes.codes[i / 4] >> (8 * (i % 4)));
          const float scale = codes.scale.scale * static_cast<float>(codes.half_scales[i / 16]);
          const float product = scale * static_cast<float>(code);
          out[unit * cuda::kUnit + i] = cuda::has_minimum(kType) ? product - codes.scale.minimum : product;
        }
      }
    }
  }
}

std::vector<float> values_on_device(cuda::Stream& stream, const cuda::PackedMatrix& matrix) {
  const int64_t groups = cuda::packed_groups(matrix.rows);
  const cuda::DeviceBuffer out(groups * 32 * matrix.quads() * cuda::kQuad * sizeof(float));
  ReadParams params;
  params.matrix = matrix;
  params.out = out.as<float>();
  cuda::with_type(matrix.type, [&]<DType kType>() {
    void (*const kernel)(ReadParams) = [](ReadParams p) { read_packed<kType>(p); };
    cuda::launch(stream, kernel, cuda::Grid{static_cast<unsigned>(groups)}, 32, 0, params);
  });
  return on_host<float>(stream, out);
}

bool same_bits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

struct ElementParams {
  static constexpr cuda::KernelInfo kInfo{"read_file", 32};
  DType type;
  int cols;
  cuda::Bytes blocks;
  cuda::Global<float> out;
};

void read_file(ElementParams p) {
  const BlockShape block = block_shape(p.type);
  for (int i = static_cast<int>(threadIdx.x); i < p.cols; i += 32) {
    cuda::with_type(p.type, [&]<DType kType>() {
      p.out[i] = cuda::element_value<kType>(p.blocks + i / block.elements * block.bytes, i % block.elements);
    });
  }
}

}  // namespace

CASE("every type's packed values are those of the file, and what fills up is zero") {
  cuda::Stream stream;
  Random random(1);
  for (DType type : packed_types()) {
    const int block = block_shape(type).elements;
    for (int rows : {1, 63, 64, 65}) {
      for (int cols : {block, 3 * block, 256, 768}) {
        const DeviceMatrix matrix = random_matrix(stream, type, rows, cols, random);
        const std::vector<float> values = values_on_device(stream, matrix.packed);
        const int64_t width = matrix.packed.quads() * cuda::kQuad;
        for (int64_t index = 0; index < static_cast<int64_t>(values.size()); ++index) {
          const int64_t row = index / width, i = index % width;
          const float expected = row < rows && i < cols ? matrix.values[row * cols + i] : 0.0f;
          if (row < rows && i < cols ? !same_bits(values[index], expected) : values[index] != 0) {
            report(__FILE__, __LINE__, dtype_name(type), " ", rows, " x ", cols, " at ", row, ", ", i, ": expected ",
                   expected, ", got ", values[index]);
          }
        }
      }
    }
  }
}

CASE("a matrix of whole quads and pairs takes the bytes of the file") {
  for (DType type : packed_types()) {
    const BlockShape block = block_shape(type);
    CHECK_EQ(cuda::packed_bytes(type, 64, 512), int64_t{64} * 512 / block.elements * block.bytes);
  }
}

CASE("elements read from the file's blocks are dequantize_row's bits") {
  cuda::Stream stream;
  Random random(2);
  for (DType type : packed_types()) {
    const int cols = 3 * 256;
    const std::vector<uint8_t> blocks = random_blocks(type, 1, cols, random);
    std::vector<float> expected(cols);
    dequantize_row(type, blocks.data(), expected.data(), cols);
    const cuda::DeviceBuffer file = on_device(stream, blocks), out(cols * sizeof(float));
    ElementParams params{type, cols, file.as<const uint8_t>(), out.as<float>()};
    cuda::launch(stream, read_file, cuda::Grid{1}, 32, 0, params);
    const std::vector<float> values = on_host<float>(stream, out);
    for (int i = 0; i < cols; ++i) CHECK(same_bits(values[i], expected[i]));
  }
}

CASE("rows of heads lie in the pairs that rope turns") {
  cuda::Stream stream;
  Random random(3);
  for (int head_dim : {2, 16, 64, 128}) {
    for (bool is_interleaved : {false, true}) {
      const int rows = 3 * head_dim, cols = 32;
      const cuda::RowOrder order{head_dim, is_interleaved};
      const DeviceMatrix matrix = random_matrix(stream, DType::Q8_0, rows, cols, random, order);
      const std::vector<float> values = values_on_device(stream, matrix.packed);
      for (int pair = 0; pair < rows / 2; ++pair) {
        for (bool is_second : {false, true}) {
          const int head = pair / (head_dim / 2), i = pair % (head_dim / 2);
          const int row = head * head_dim + (is_interleaved ? 2 * i + is_second : i + is_second * head_dim / 2);
          const int64_t packed = pair / 32 * 64 + is_second * 32 + pair % 32;
          CHECK(same_bits(values[packed * cuda::kQuad], matrix.values[static_cast<int64_t>(row) * cols]));
        }
      }
    }
  }
}
