// TraceBlock of src/native/binding.ts: the arrays of a core trace block as typed arrays over the same memory.
#pragma once

#include <napi.h>

#include <memory>

#include "core/trace_block.h"

namespace moescope {

std::shared_ptr<TraceBlock> to_trace_block(const Napi::Value& options, const ModelConfig& config);
// The object and its views keep the block; `number` is its name in a request.
Napi::Object from_trace_block(Napi::Env env, const std::shared_ptr<TraceBlock>& block, int number);

}  // namespace moescope
