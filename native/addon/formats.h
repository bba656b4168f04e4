// Block formats for tests and inspection: blockShape(dtype), dequantize(dtype, blocks).
#pragma once

#include <napi.h>

namespace moescope {

Napi::Value block_shape_of(const Napi::CallbackInfo& info);
Napi::Value dequantize(const Napi::CallbackInfo& info);

}  // namespace moescope
