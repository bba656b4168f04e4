#include "addon/quantize.h"

#include "addon/convert.h"
#include "addon/worker.h"
#include "core/quantize.h"

namespace moescope {
namespace {

constexpr int64_t kMostColumns = int64_t{1} << 31;
constexpr int64_t kMostRows = int64_t{1} << 53;
constexpr int64_t kMostThreads = 1024;

std::vector<uint8_t> bytes_of(const std::vector<float>& values) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  return std::vector<uint8_t>(bytes, bytes + values.size() * sizeof(float));
}

}  // namespace

Napi::Value quantize(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const DType to = to_dtype(info[0]);
    const std::vector<uint8_t> source = bytes_of(to_vector<float>(info[1], "values"));
    const int64_t cols = to_integer(info[2], "cols", 1, kMostColumns);
    return from_vector(info.Env(), convert_rows(DType::F32, source, to, cols, 0, 1));
  });
}

Napi::Value convert_rows_async(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Napi::Object request = to_object(info[0], "request");
    const DType from = to_dtype(request.Get("from"));
    const DType to = to_dtype(request.Get("to"));
    auto source = std::make_shared<std::vector<uint8_t>>(to_vector<uint8_t>(request.Get("source"), "source"));
    const int64_t cols = to_integer(request.Get("cols"), "cols", 1, kMostColumns);
    const int64_t first_row = to_integer(request.Get("firstRow"), "firstRow", 0, kMostRows);
    const auto threads = static_cast<int>(to_integer(request.Get("threads"), "threads", 1, kMostThreads));
    return PromiseWorker<std::vector<uint8_t>>::start(
        info.Env(), [=] { return convert_rows(from, *source, to, cols, first_row, threads); },
        [](Napi::Env env, std::vector<uint8_t>&& blocks) { return from_vector(env, std::move(blocks)); });
  });
}

}  // namespace moescope
