// What oci-sweep was asked for.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

namespace bulkhead::test {

struct OciSweepOptions {
  std::string verb;
  bool kill = false;
  bool all = false;
  long only = -1;
  size_t cases = 60;
  unsigned seed = 0;
};

inline bool parseOciSweep(int argc, char** argv, OciSweepOptions* options) {
  if (argc < 3) return false;
  options->verb = argv[1];
  const std::string_view kind = argv[2];
  const std::string_view verb = options->verb;
  if (verb != "create" && verb != "start" && verb != "exec" && verb != "delete") return false;
  if (kind != "fail" && kind != "kill") return false;
  options->kill = kind == "kill";
  for (int index = 3; index < argc; ++index) {
    const std::string_view name = argv[index];
    if (name == "--all") {
      options->all = true;
      continue;
    }
    if (index + 1 == argc) return false;
    const char* value = argv[++index];
    if (name == "--call") {
      options->only = atol(value);
    } else if (name == "--cases") {
      options->cases = strtoul(value, nullptr, 10);
    } else if (name == "--seed") {
      options->seed = static_cast<unsigned>(strtoul(value, nullptr, 10));
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace bulkhead::test
