// One decoder, four architectures: the forward pass.
#pragma once

#include "core/backend.h"
#include "core/config.h"

namespace moescope {

// Runs all layers over the rows of a batch. The cache has room for them already; heads are read out as asked.
void forward(Backend& backend, const ModelConfig& config, const Batch& batch, const std::vector<HeadRequest>& heads,
             const Taps& taps);

}  // namespace moescope
