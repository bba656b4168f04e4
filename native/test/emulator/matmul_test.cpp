// cuda/matmul.cu against the exact product, and a row's bits alone and among others.
#include "cuda/matmul.h"

#include "product_values.h"
#include "test/check.h"

using namespace moescope;
using namespace moescope::check;

namespace {

std::vector<float> multiply(cuda::Stream& stream, const DeviceMatrix& matrix, const std::vector<float>& x, int rows) {
  const DeviceSide side = device_side(stream, x, rows, matrix.packed.cols);
  const cuda::DeviceBuffer out(static_cast<size_t>(rows) * matrix.packed.rows * sizeof(float));
  cuda::MatmulParams params;
  params.products[0] = {.weights = matrix.packed, .x = side.side, .out = out.as<float>()};
  params.count = 1;
  params.rows = rows;
  cuda::matmul(stream, params);
  return on_host<float>(stream, out);
}

std::vector<float> random_rows(int rows, int cols, Random& random) {
  std::vector<float> x(static_cast<size_t>(rows) * cols);
  for (float& value : x) value = static_cast<float>(random.normal());
  return x;
}

void check_matrix(cuda::Stream& stream, DType type, int weight_rows, int cols, int rows, Random& random) {
  const DeviceMatrix matrix = random_matrix(stream, type, weight_rows, cols, random);
  const std::vector<float> x = random_rows(rows, cols, random);
  emulator::set_seed(random.bits());
  const std::vector<float> y = multiply(stream, matrix, x, rows);
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < weight_rows; ++column) {
      const Expected expected = expected_product(type, &matrix.values[static_cast<size_t>(column) * cols],
                                                 &x[static_cast<size_t>(row) * cols], cols);
      const float actual = y[static_cast<size_t>(row) * weight_rows + column];
      if (!(std::abs(actual - expected.value) <= expected.tolerance)) {
        report(__FILE__, __LINE__, dtype_name(type), " ", weight_rows, " x ", cols, ", row ", row, " of ", rows,
               ", column ", column, ": expected ", expected.value, " within ", expected.tolerance, ", got ", actual);
      }
    }
    const std::vector<float> own(x.begin() + static_cast<int64_t>(row) * cols,
                                 x.begin() + static_cast<int64_t>(row + 1) * cols);
    const std::vector<float> alone = rows == 1 ? y : multiply(stream, matrix, own, 1);
    CHECK(std::memcmp(alone.data(), &y[static_cast<size_t>(row) * weight_rows], weight_rows * sizeof(float)) == 0);
  }
}

}  // namespace

CASE("every type meets the exact product, and a row has the same bits alone and in a batch") {
  cuda::Stream stream;
  Random random(11);
  for (DType type : packed_types()) {
    const int block = block_shape(type).elements;
    check_matrix(stream, type, 65, 256, 1, random);
    check_matrix(stream, type, 63, 5 * 256, 4, random);
    check_matrix(stream, type, 64, 9 * 256, 5, random);
    check_matrix(stream, type, 1, std::max(block, 32) * 3, 9, random);
  }
}

CASE("tiles give the bits of vectors, for every type and any number of rows") {
  cuda::Stream stream;
  Random random(14);
  for (DType type : packed_types()) {
    const int block = block_shape(type).elements;
    check_matrix(stream, type, 65, 256, 63, random);
    check_matrix(stream, type, 40, 19 * 256, 17, random);
    check_matrix(stream, type, 64, std::max(block, 32) * 5, 65, random);
  }
}

CASE("products of one launch may differ in type and size; bias and residual are added") {
  cuda::Stream stream;
  Random random(12);
  const int cols = 512, rows = 3;
  const DeviceMatrix matrices[3] = {random_matrix(stream, DType::Q5_K, 130, cols, random),
                                    random_matrix(stream, DType::Q6_K, 64, cols, random),
                                    random_matrix(stream, DType::BF16, 5, cols, random)};
  const std::vector<float> x = random_rows(rows, cols, random);
  const DeviceSide side = device_side(stream, x, rows, cols);
  std::vector<cuda::DeviceBuffer> out, bias;
  std::vector<std::vector<float>> bias_values;
  cuda::MatmulParams params;
  params.rows = rows;
  params.count = 3;
  for (int index = 0; index < 3; ++index) {
    const int weight_rows = matrices[index].packed.rows;
    bias_values.push_back(random_rows(1, weight_rows, random));
    bias.push_back(on_device(stream, bias_values.back()));
    out.push_back(on_device(stream, std::vector<float>(static_cast<size_t>(rows) * weight_rows, 2.0f)));
    params.products[index].weights = matrices[index].packed;
    params.products[index].x = side.side;
    if (index != 2) params.products[index].bias = bias.back().as<const float>();
    (index == 1 ? params.products[index].residual : params.products[index].out) = out.back().as<float>();
  }
  cuda::matmul(stream, params);
  for (int index = 0; index < 3; ++index) {
    const std::vector<float> plain = multiply(stream, matrices[index], x, rows);
    const std::vector<float> y = on_host<float>(stream, out[index]);
    for (size_t place = 0; place < y.size(); ++place) {
      const float with_bias =
          index == 2 ? plain[place] : plain[place] + bias_values[index][place % matrices[index].packed.rows];
      CHECK_EQ(y[place], index == 1 ? 2.0f + with_bias : with_bias);
    }
  }
}

CASE("an activation that is not finite reaches every product it takes part in") {
  cuda::Stream stream;
  Random random(13);
  for (DType type : packed_types()) {
    const DeviceMatrix matrix = random_matrix(stream, type, 33, 256, random);
    for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      std::vector<float> x = random_rows(2, 256, random);
      x[256 + 77] = bad;
      const std::vector<float> y = multiply(stream, matrix, x, 2);
      for (int column = 0; column < 33; ++column) {
        CHECK(std::isfinite(y[column]));
        CHECK(!std::isfinite(y[33 + column]));
      }
    }
  }
}
