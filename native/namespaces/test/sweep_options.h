// What fault-sweep was asked for.
#pragma once

#include <cstdlib>
#include <ctime>
#include <string_view>

namespace bulkhead::test {

struct SweepOptions {
  bool exec = false;
  bool kill = false;
  bool all = false;
  /** Only this call of each process; below 0: every call. */
  long only = -1;
  size_t cases = 150;
  unsigned seed = 0;
};

inline bool parseSweep(int argc, char** argv, SweepOptions* options) {
  if (argc < 3) return false;
  const std::string_view subject = argv[1];
  const std::string_view kind = argv[2];
  if ((subject != "start" && subject != "exec") || (kind != "fail" && kind != "kill")) return false;
  options->exec = subject == "exec";
  options->kill = kind == "kill";
  options->seed = static_cast<unsigned>(time(nullptr));
  for (int index = 3; index < argc; ++index) {
    const std::string_view name = argv[index];
    if (name == "--all") {
      options->all = true;
    } else if (index + 1 < argc && name == "--call") {
      options->only = atol(argv[++index]);
    } else if (index + 1 < argc && name == "--cases") {
      options->cases = strtoul(argv[++index], nullptr, 10);
    } else if (index + 1 < argc && name == "--seed") {
      options->seed = static_cast<unsigned>(strtoul(argv[++index], nullptr, 10));
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace bulkhead::test
