// Any text in place of what the kernel writes into its files of cgroups and processes: read within bounds, to an end.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "cgroup/stat_text.h"
#include "reach/mount_table.h"
#include "sys/file.h"
#include "sys/procfs.h"

namespace {

using namespace bulkhead;

void checkStatistics(const std::string& text) {
  for (const char* key : {"usage_usec", "nr_throttled", "oom_kill", "rbytes", "a"}) {
    (void)cgroup::keyed(text, key);
    (void)cgroup::summed(text, key);
    (void)cgroup::summedWord(text, key);
  }
  // A number is taken only when it is all there is.
  uint64_t number = 0;
  if (sys::parseUnsigned(text, UINT64_MAX, &number) && std::stoull(text) != number) abort();
}

void checkMounts(const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const size_t newline = std::min(text.find('\n', at), text.size());
    std::vector<char> line(text.begin() + static_cast<long>(at), text.begin() + static_cast<long>(newline));
    line.push_back('\0');
    reach::MountLine cut = {};
    if (reach::parseMountLine(line.data(), &cut).ok()) {
      for (const char* part : {cut.device, cut.root, cut.place}) {
        if (part < line.data() || part + strlen(part) >= line.data() + line.size()) abort();
      }
    }
    at = newline + 1;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  checkStatistics(text);
  checkMounts(text);
  (void)sys::parseStartTicks(text.c_str()).ok();
  return 0;
}
