// The loops behind the ceilings run, do what they say, and give finite positive rates. How fast is not a matter of tests.
#include "cpu/ceilings.h"

#include <cmath>
#include <map>
#include <string>

#include "core/devices.h"
#include "test/check.h"

using namespace moescope;

CASE("every ceiling has a finite positive rate, with one thread and with several") {
  const std::vector<Ceiling> ceilings = cpu_ceilings();
  CHECK(ceilings.size() >= 2);
  CHECK_EQ(std::string(ceilings[0].kind), std::string("read"));
  for (size_t index = 0; index < ceilings.size(); ++index) {
    for (int threads : {1, 2}) {
      const double rate = measure_cpu_ceiling(static_cast<int>(index), threads, 0.01, size_t{16} << 20);
      CHECK(std::isfinite(rate) && rate > 0);
    }
  }
}

CASE("a sum of memory is that of its words") {
  std::vector<uint64_t> words(4096);
  uint64_t expected = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    words[i] = i * 0x9e3779b97f4a7c15u;
    expected += words[i];
  }
  CHECK_EQ(read_memory(reinterpret_cast<const std::byte*>(words.data()), words.size() * 8), expected);
}

CASE("the loops of int8 multiply and add as often as they say") {
  const std::map<std::string, int> lanes = {{"avx2", 8}, {"avx512vnni", 16}, {"neon", 4}};  // of 32 bits
  for (const PeakLoop& loop : peak_loops()) {
    const auto found = lanes.find(loop.instructions);
    if (std::string(loop.kind) != "int8" || found == lanes.end()) continue;
    // The factors are 3 and 1; the result is one lane of the sum of all accumulators.
    constexpr int64_t kRounds = 1000;
    const auto lane = static_cast<int64_t>(loop.run(kRounds));
    CHECK_EQ(lane * found->second, 3 * kRounds * loop.macs_per_round);
  }
}

CASE("a ceiling that is not there is refused") {
  const int count = static_cast<int>(cpu_ceilings().size());
  CHECK_FAILS(measure_cpu_ceiling(count, 1, 0.01, size_t{1} << 20), InvalidArgument);
  CHECK_FAILS(measure_cpu_ceiling(-1, 1, 0.01, size_t{1} << 20), InvalidArgument);
  CHECK_FAILS(measure_cpu_ceiling(0, 2, 0.01, size_t{1} << 20), InvalidArgument);
}
