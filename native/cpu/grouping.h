// Rows of a batch by the expert that serves them.
#pragma once

#include <cstdint>
#include <vector>

namespace moescope {

// Assignments of a batch, grouped by the expert that runs: group e is [starts[e], starts[e + 1]).
struct ExpertGrouping {
  std::vector<int64_t> starts;  // (num_experts + 1)
  std::vector<int64_t> rows;    // row of each assignment
  std::vector<int64_t> places;  // (rows, top_k): index of a slot's assignment, -1 where nothing runs
};

}  // namespace moescope
