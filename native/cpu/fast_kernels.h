// The ways to multiply in precision `fast`. They differ in their bits: results are comparable bit for bit between machines that run the
// same way, so its name stands in every record of a run. The ways with integers only agree with one another.
#pragma once

#include <string_view>

#include "cpu/arch/bf16_kernels.h"
#include "cpu/arch/int_kernels.h"

namespace moescope {

struct FastKernels {
  const char* name;
  const IntKernels* integers;  // for types that have an integer form; null: bf16 for all
  const Bf16Kernels* bf16;     // for the other types but F32; null: they are multiplied in fp32
};

// The best way of this machine, or the one that the environment variable MOESCOPE_FAST names; InvalidArgument if that is not one of this
// machine's.
const FastKernels& chosen_fast_kernels();

// All ways of this machine, best first.
int num_fast_kernels();
const FastKernels& fast_kernels(int index);

}  // namespace moescope
