// Weights into storage types: quantize(dtype, values, cols), convertRows(request).
#pragma once

#include <napi.h>

namespace moescope {

Napi::Value quantize(const Napi::CallbackInfo& info);
Napi::Value convert_rows_async(const Napi::CallbackInfo& info);

}  // namespace moescope
