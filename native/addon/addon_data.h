// What one instance of the addon holds: the constructors of its classes.
#pragma once

#include <napi.h>

namespace moescope {

struct AddonData {
  Napi::FunctionReference cancel_flag;
  Napi::FunctionReference model;
  Napi::FunctionReference session;
};

}  // namespace moescope
