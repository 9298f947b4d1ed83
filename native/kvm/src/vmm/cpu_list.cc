#include "vmm/cpu_list.h"

#include <algorithm>
#include <cerrno>

#include "machine/affinity.h"
#include "sys/file.h"

namespace bulkhead::vm {

Result<std::vector<uint32_t>> parseCpuList(std::string_view text) {
  std::vector<uint32_t> cpus;
  const std::string_view whole = text;
  for (bool more = true; more;) {
    const size_t comma = text.find(',');
    more = comma != std::string_view::npos;
    const std::string_view part = text.substr(0, comma);
    text = more ? text.substr(comma + 1) : std::string_view();
    const size_t dash = part.find('-');
    uint64_t first = 0;
    uint64_t last = 0;
    const bool good =
        sys::parseUnsigned(part.substr(0, dash), kMaxHostCpus - 1, &first) &&
        sys::parseUnsigned(dash == std::string_view::npos ? part : part.substr(dash + 1), kMaxHostCpus - 1, &last);
    if (!good || last < first) return failure("list of processors", EINVAL, whole);
    for (uint64_t cpu = first; cpu <= last; ++cpu) {
      if (std::find(cpus.begin(), cpus.end(), cpu) != cpus.end()) {
        return failure("list with a processor twice", EINVAL, whole);
      }
      cpus.push_back(static_cast<uint32_t>(cpu));
    }
  }
  return cpus;
}

}  // namespace bulkhead::vm
