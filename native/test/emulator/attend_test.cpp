// cuda/attend_in.cu and cuda/attend.cu against the CPU's kernels, bit for bit where both have the same order, and against float64.
#include "cuda/attend.h"

#include "core/cache_page.h"
#include "core/half.h"
#include "cpu/arch/kernels.h"
#include "cuda/matmul.h"
#include "product_values.h"
#include "test/check.h"
#include "test/kernel_values.h"

using namespace moescope;
using namespace moescope::check;

namespace {

const CacheType kCacheTypes[] = {CacheType::F32, CacheType::BF16, CacheType::F16, CacheType::Q8_0};

// Pages of some sequences in host memory, filled by core/cache_page.h, and where the device has them.
struct Pages {
  CacheType type;
  int head_dim, kv_heads, max_tiles;
  std::vector<std::byte> pool;
  std::vector<int32_t> table;  // (sequences, max_tiles)

  Pages(CacheType cache_type, int dim, int heads, int sequences, int tiles, Random& random)
      : type(cache_type), head_dim(dim), kv_heads(heads), max_tiles(tiles) {
    pool.resize(static_cast<size_t>(sequences) * tiles * heads * head_bytes(), std::byte{0x5a});
    for (int page = 0; page < sequences * tiles; ++page) table.push_back(page);
    for (size_t i = table.size(); i > 1; --i) std::swap(table[i - 1], table[random.below(static_cast<int>(i))]);
  }
  size_t head_bytes() const { return cache_head_bytes(type, head_dim); }
  std::byte* head(int sequence, int tile, int kv_head) {
    return pool.data() + (static_cast<size_t>(table[sequence * max_tiles + tile]) * kv_heads + kv_head) * head_bytes();
  }
  // Of each tile, its page in a copy of the pool.
  std::vector<cuda::Global<uint8_t>> places(const cuda::DeviceBuffer& device_pool) const {
    std::vector<cuda::Global<uint8_t>> all;
    for (int32_t page : table) {
      all.push_back(device_pool.as<uint8_t>() + static_cast<int64_t>(page) * kv_heads * head_bytes());
    }
    return all;
  }
  cuda::CacheView view(const cuda::DeviceBuffer& device_table) const {
    cuda::CacheView view;
    view.type = type;
    view.head_dim = head_dim;
    view.kv_heads = kv_heads;
    view.head_bytes = static_cast<int64_t>(head_bytes());
    view.pages = device_table.as<const cuda::Global<uint8_t>>();
    view.max_tiles = max_tiles;
    return view;
  }
};

void fill_keys(Pages& pages, int sequence, int length, Random& random) {
  for (int position = 0; position < length; ++position) {
    for (int kv_head = 0; kv_head < pages.kv_heads; ++kv_head) {
      const std::vector<float> key = random_floats(pages.head_dim, random),
                               value = random_floats(pages.head_dim, random);
      std::byte* head = pages.head(sequence, position / kTilePositions, kv_head);
      write_key(pages.type, key.data(), pages.head_dim, position % kTilePositions, head);
      write_value(pages.type, value.data(), pages.head_dim, position % kTilePositions, head);
    }
  }
}

std::vector<float> attend(cuda::Stream& stream, const Pages& pages, const std::vector<float>& q, int heads,
                          const std::vector<cuda::RowPlace>& places, cuda::LeftSide side, int extra_spans = 0) {
  const int rows = static_cast<int>(places.size());
  const cuda::DeviceBuffer pool = on_device(stream, pages.pool), table = on_device(stream, pages.places(pool)),
                           device_q = on_device(stream, q), device_places = on_device(stream, places),
                           context(q.size() * 4);
  cuda::AttendParams params;
  params.rows = rows;
  params.heads = heads;
  params.q = device_q.as<const float>();
  params.places = device_places.as<const cuda::RowPlace>();
  params.cache = pages.view(table);
  for (const cuda::RowPlace& place : places) {
    params.max_spans = std::max(params.max_spans, place.position / cuda::kSpanPositions + 1 + extra_spans);
  }
  const cuda::DeviceBuffer partial(static_cast<size_t>(rows) * heads * params.max_spans * (pages.head_dim + 2) * 4);
  params.partial = partial.as<float>();
  params.context = context.as<float>();
  params.side = side;
  cuda::attend(stream, params);
  return on_host<float>(stream, context);
}

// The CPU's kernels: tiles merged within spans, spans merged.
std::vector<float> attend_on_cpu(Pages& pages, const float* q, int sequence, int kv_head, int position) {
  const Kernels& kernels = best_kernels();
  const int head_dim = pages.head_dim;
  std::vector<float> room(2 * static_cast<size_t>(head_dim) * kTilePositions), total, span;
  float total_max = 0, total_sum = 0, span_max = 0, span_sum = 0;
  for (int tile = 0; tile * kTilePositions <= position; ++tile) {
    const std::byte* head = pages.head(sequence, tile, kv_head);
    const float* keys = kernels.read_keys(pages.type, head, head_dim, room.data());
    const float* values = kernels.read_values(pages.type, head, head_dim, room.data() + head_dim * kTilePositions);
    const int num_keys = std::min(position + 1 - tile * kTilePositions, kTilePositions);
    std::vector<float> out(head_dim);
    float max = 0, sum = 0;
    float* out_place = out.data();
    kernels.attend_tile(1, &q, keys, values, head_dim, &num_keys, &max, &sum, &out_place);
    if (tile % cuda::kSpanTiles == 0) {
      span = out, span_max = max, span_sum = sum;
    } else {
      kernels.merge_tile(max, sum, out.data(), head_dim, &span_max, &span_sum, span.data());
    }
    const bool is_span_end = tile % cuda::kSpanTiles == cuda::kSpanTiles - 1 || (tile + 1) * kTilePositions > position;
    if (!is_span_end) continue;
    if (total.empty()) {
      total = span, total_max = span_max, total_sum = span_sum;
    } else {
      kernels.merge_tile(span_max, span_sum, span.data(), head_dim, &total_max, &total_sum, total.data());
    }
  }
  for (float& value : total) value /= total_sum;
  return total;
}

}  // namespace

CASE("attention has the CPU's bits for every cache type, group of heads and length") {
  cuda::Stream stream;
  Random random(31);
  struct Shape {
    int head_dim, heads, kv_heads;
  };
  for (CacheType type : kCacheTypes) {
    for (const Shape& shape : {Shape{128, 7, 1}, Shape{64, 10, 2}, Shape{34, 8, 2}, Shape{16, 3, 3}, Shape{2, 18, 1}}) {
      const std::vector<cuda::RowPlace> places = {{0, 0}, {1, 63}, {2, 64}, {0, 62}, {1, 255}, {2, 256}, {1, 700}};
      Pages pages(type, shape.head_dim, shape.kv_heads, 3, 11, random);
      for (int sequence = 0; sequence < 3; ++sequence) fill_keys(pages, sequence, sequence == 1 ? 701 : 300, random);
      const int width = shape.heads * shape.head_dim, rows = static_cast<int>(places.size());
      const std::vector<float> q = random_floats(static_cast<size_t>(rows) * width, random, 0.3);
      const DeviceSide side(rows, width);
      const std::vector<float> context = attend(stream, pages, q, shape.heads, places, side.side);
      const std::vector<float> floats = on_host<float>(stream, side.floats);
      for (int row = 0; row < rows; ++row) {
        for (int head = 0; head < shape.heads; ++head) {
          const size_t at = static_cast<size_t>(row) * width + head * shape.head_dim;
          const std::vector<float> expected = attend_on_cpu(
              pages, &q[at], places[row].sequence, head / (shape.heads / shape.kv_heads), places[row].position);
          const std::vector<float> actual(context.begin() + at, context.begin() + at + shape.head_dim);
          CHECK(same(actual, expected));
          const size_t in_side = static_cast<size_t>(row) * side.side.quads * cuda::kQuad + head * shape.head_dim;
          CHECK(std::equal(actual.begin(), actual.end(), floats.begin() + in_side));
        }
      }
      // A row alone, with room for more spans than it has.
      const std::vector<float> own(q.begin() + 5 * width, q.begin() + 6 * width);
      const std::vector<float> alone =
          attend(stream, pages, own, shape.heads, {places[5]}, DeviceSide(1, width).side, 2);
      CHECK(std::equal(alone.begin(), alone.end(), context.begin() + 5 * width));
    }
  }
}

CASE("attention meets the formula in float64") {
  cuda::Stream stream;
  Random random(32);
  const int head_dim = 64, position = 600;
  Pages pages(CacheType::F32, head_dim, 1, 1, 10, random);
  fill_keys(pages, 0, position + 1, random);
  const std::vector<float> q = random_floats(4 * head_dim, random, 0.5);
  const std::vector<float> context = attend(stream, pages, q, 4, {{0, position}}, DeviceSide(1, 4 * head_dim).side);
  for (int head = 0; head < 4; ++head) {
    std::vector<double> scores(position + 1), sums(head_dim, 0.0), sizes(head_dim, 0.0);
    double error = 0, largest = -1e30, total = 0;
    for (int key = 0; key <= position; ++key) {
      const float* keys = reinterpret_cast<const float*>(pages.head(0, key / 64, 0));
      double size = 0;
      for (int d = 0; d < head_dim; ++d) {
        scores[key] += static_cast<double>(q[head * head_dim + d]) * keys[d * 64 + key % 64];
        size += std::abs(static_cast<double>(q[head * head_dim + d]) * keys[d * 64 + key % 64]);
      }
      error = std::max(error, head_dim * kUlp * size);
      largest = std::max(largest, scores[key]);
    }
    double spread = 0;
    for (int key = 0; key <= position; ++key) {
      const float* values = reinterpret_cast<const float*>(pages.head(0, key / 64, 0)) + head_dim * 64;
      const double weight = std::exp(scores[key] - largest);
      spread = std::max(spread, largest - scores[key]);
      total += weight;
      for (int d = 0; d < head_dim; ++d) {
        sums[d] += weight * values[key % 64 * head_dim + d];
        sizes[d] += weight * std::abs(values[key % 64 * head_dim + d]);
      }
    }
    // Each weight: two scores, their difference, exp, and up to twelve mergings of four roundings; sums of 64 in a tile.
    const double relative = 2 * (2 * error + spread * kUlp + 4 * kUlp + 64 * kUlp + 12 * 6 * kUlp);
    for (int d = 0; d < head_dim; ++d) {
      CHECK_NEAR(context[head * head_dim + d], sums[d] / total, relative * sizes[d] / total);
    }
  }
}

CASE("q, k and v: products, bias, rope and the cache's rounding, as the CPU has them") {
  cuda::Stream stream;
  Random random(33);
  for (CacheType type : kCacheTypes) {
    for (bool is_interleaved : {false, true}) {
      for (int head_dim : {128, 40}) {
        const int heads = 3, kv_heads = 2, hidden = 256, half = head_dim / 2;
        const cuda::RowOrder order{head_dim, is_interleaved};
        const int q_rows = heads * head_dim, kv_rows = kv_heads * head_dim;
        const DType types[3] = {DType::Q5_K, DType::BF16, DType::Q6_K};
        std::vector<DeviceMatrix> packed, plain;
        std::vector<std::vector<float>> bias;
        for (int part = 0; part < 3; ++part) {
          const int rows = part == 0 ? q_rows : kv_rows;
          const std::vector<uint8_t> blocks = random_blocks(types[part], rows, hidden, random, 1.0f);
          packed.push_back(
              device_matrix(stream, types[part], blocks, rows, hidden, part < 2 ? order : cuda::RowOrder{}));
          plain.push_back(device_matrix(stream, types[part], blocks, rows, hidden));
          bias.push_back(random_floats(rows, random));
        }
        const std::vector<cuda::RowPlace> places = {{0, 5}, {1, 64}, {0, 127}, {1, 0}, {1, 1}, {1, 127}};
        const int rows = static_cast<int>(places.size());
        Pages pages(type, head_dim, kv_heads, 2, 2, random);
        const std::vector<float> x = random_floats(static_cast<size_t>(rows) * hidden, random);
        std::vector<float> inv_freq;
        for (int i = 0; i < half; ++i) inv_freq.push_back(static_cast<float>(std::pow(1e4, -2.0 * i / head_dim)));
        const float factor = 1.07f, q_scale = static_cast<float>(1 / std::sqrt(static_cast<double>(head_dim)));

        const DeviceSide side = device_side(stream, x, rows, hidden);
        const cuda::DeviceBuffer pool = on_device(stream, pages.pool), table = on_device(stream, pages.places(pool)),
                                 device_places = on_device(stream, places), freq = on_device(stream, inv_freq),
                                 q_bias = on_device(stream, bias[0]), k_bias = on_device(stream, bias[1]),
                                 v_bias = on_device(stream, bias[2]), rope(static_cast<size_t>(rows) * head_dim * 4),
                                 q(static_cast<size_t>(rows) * q_rows * 4), k(static_cast<size_t>(rows) * kv_rows * 4),
                                 v(static_cast<size_t>(rows) * kv_rows * 4);
        cuda::rope_table(
            stream, rows,
            {device_places.as<const cuda::RowPlace>(), freq.as<const float>(), half, factor, rope.as<float>()});
        cuda::AttendInParams params;
        params.rows = rows;
        params.q_weights = packed[0].packed, params.k_weights = packed[1].packed, params.v_weights = packed[2].packed;
        params.is_interleaved = is_interleaved;
        params.q_bias = q_bias.as<const float>(), params.k_bias = k_bias.as<const float>();
        params.v_bias = v_bias.as<const float>();
        params.x = side.side;
        params.rope = rope.as<const float>();
        params.q_scale = q_scale;
        params.places = device_places.as<const cuda::RowPlace>();
        params.cache = pages.view(table);
        params.q = q.as<float>();
        const bool is_apart = type == CacheType::Q8_0 || head_dim == 40;
        if (is_apart) params.k = k.as<float>(), params.v = v.as<float>();
        cuda::attend_in(stream, params);
        if (is_apart) {
          cuda::write_cache(stream, rows, {k.as<const float>(), v.as<const float>(), params.places, params.cache});
        }
        const std::vector<float> actual_q = on_host<float>(stream, q);
        const std::vector<std::byte> actual_pool = on_host<std::byte>(stream, pool);

        std::vector<float> outputs[3];
        for (int part = 0; part < 3; ++part) {
          const cuda::DeviceBuffer out(static_cast<size_t>(rows) * plain[part].packed.rows * 4),
              device_bias = on_device(stream, bias[part]);
          cuda::MatmulParams product;
          product.products[0] = {.weights = plain[part].packed,
                                 .x = side.side,
                                 .bias = device_bias.as<const float>(),
                                 .out = out.as<float>()};
          product.count = 1;
          product.rows = rows;
          cuda::matmul(stream, product);
          outputs[part] = on_host<float>(stream, out);
        }
        for (int row = 0; row < rows; ++row) {
          const auto rotate = [&](float* head) {
            for (int i = 0; i < half; ++i) {
              const float angle = static_cast<float>(places[row].position) * inv_freq[i];
              const float cos = static_cast<float>(std::cos(static_cast<double>(angle))) * factor;
              const float sin = static_cast<float>(std::sin(static_cast<double>(angle))) * factor;
              float& a = is_interleaved ? head[2 * i] : head[i];
              float& b = is_interleaved ? head[2 * i + 1] : head[i + half];
              const float turned = a * cos - b * sin;
              b = b * cos + a * sin;
              a = turned;
            }
          };
          float* q_row = &outputs[0][static_cast<size_t>(row) * q_rows];
          for (int head = 0; head < heads; ++head) rotate(q_row + head * head_dim);
          for (int i = 0; i < q_rows; ++i)
            CHECK_EQ(actual_q[static_cast<size_t>(row) * q_rows + i], q_row[i] * q_scale);
          for (int head = 0; head < kv_heads; ++head) {
            float* k_row = &outputs[1][static_cast<size_t>(row) * kv_rows + head * head_dim];
            rotate(k_row);
            std::byte* page = pages.head(places[row].sequence, places[row].position / 64, head);
            write_key(type, k_row, head_dim, places[row].position % 64, page);
            write_value(type, &outputs[2][static_cast<size_t>(row) * kv_rows + head * head_dim], head_dim,
                        places[row].position % 64, page);
          }
        }
        // What nobody wrote has stayed as it was.
        CHECK(actual_pool == pages.pool);
      }
    }
  }
}
