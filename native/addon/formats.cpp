#include "addon/formats.h"

#include "addon/convert.h"
#include "core/blocks.h"

namespace moescope {

Napi::Value block_shape_of(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const BlockShape shape = block_shape(to_dtype(info[0]));
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("elements", Napi::Number::New(info.Env(), shape.elements));
    object.Set("bytes", Napi::Number::New(info.Env(), shape.bytes));
    return object;
  });
}

Napi::Value dequantize(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const DType dtype = to_dtype(info[0]);
    const std::vector<uint8_t> blocks = to_vector<uint8_t>(info[1], "blocks");
    const BlockShape shape = block_shape(dtype);
    if (blocks.size() % shape.bytes != 0) {
      fail(ErrorCode::InvalidArgument, "Expected whole blocks of ", shape.bytes, " bytes, got ", blocks.size(),
           " bytes.");
    }
    const int64_t elements = static_cast<int64_t>(blocks.size()) / shape.bytes * shape.elements;
    std::vector<float> values(elements);
    dequantize_row(dtype, blocks.data(), values.data(), elements);
    return from_vector(info.Env(), std::move(values));
  });
}

}  // namespace moescope
