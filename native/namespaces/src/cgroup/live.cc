// Limits of a cgroup that has processes in it: order matters, and half a change
// is none.
#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "cgroup/control.h"
#include "cgroup/device_filter.h"
#include "cgroup/directory.h"
#include "sys/file.h"

namespace bulkhead::cgroup {
namespace {

struct Undo {
  int directory;
  std::string file;
  std::string before;
};

/** The first of "a|b" that exists. */
std::string existing(int directory, std::string_view files) {
  if (files.starts_with('?')) files.remove_prefix(1);
  for (;;) {
    const size_t bar = files.find('|');
    const std::string file(files.substr(0, bar));
    if (bar == std::string_view::npos || faccessat(directory, file.c_str(), F_OK, 0) == 0) return file;
    files.remove_prefix(bar + 1);
  }
}

/** Writes one limit, remembering what was there. */
Status change(int directory, const plan::CgroupWrite& write, std::vector<Undo>* undo) {
  const std::string file = existing(directory, write.file.view());
  char before[1024];
  Result<size_t> size = sys::readFile(directory, file.c_str(), before, sizeof before);
  TRY(applyWrite(directory, write));
  if (!size.ok()) return Done{};
  std::string value(before, size.value());
  while (!value.empty() && value.back() == '\n') value.pop_back();
  // Files of one line per device cannot be written back whole, and an empty
  // cpuset means "the parent's" already.
  if (!value.empty() && value.find('\n') == std::string::npos) undo->push_back({directory, file, value});
  return Done{};
}

/** EBUSY when the container uses more than it is to get: the kernel would
 * reclaim, then kill. */
Status refuseBelowUsage(int at, const plan::CgroupDirectory& directory) {
  if ((directory.flags & plan::kCgroupCheck) == 0) return Done{};
  const auto number = [&](const char* file) {
    char text[64];
    uint64_t value = 0;
    Result<size_t> size = sys::readFile(at, file, text, sizeof text);
    const std::string_view all = size.ok() ? std::string_view(text, size.value()) : std::string_view();
    (void)sys::parseUnsigned(all.substr(0, all.find('\n')), UINT64_MAX, &value);
    return value;
  };
  for (const plan::CgroupWrite& write : directory.writes) {
    uint64_t limit = 0;
    if (write.file.view() != "memory.max" || !sys::parseUnsigned(write.value.view(), UINT64_MAX, &limit)) continue;
    if (limit < number("memory.current") + number("memory.swap.current")) return failure("check", EBUSY, "memory.max");
  }
  return Done{};
}

}  // namespace

Status applyLive(const Span<plan::CgroupDirectory>& directories) {
  std::vector<Fd> open;
  std::vector<Undo> undo;
  const auto apply = [&]() -> Status {
    for (const plan::CgroupDirectory& directory : directories) {
      if (directory.writes.empty() && directory.deviceProgram.empty()) continue;
      Fd fd = TRY(sys::openAt(AT_FDCWD, directory.path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      const int at = fd.get();
      open.push_back(std::move(fd));
      TRY(refuseBelowUsage(at, directory));
      // v1 keeps limit <= limit with swap (and quota within period) at every
      // moment, so which of two goes first depends on the direction; what is
      // refused at first is tried again after the others.
      std::vector<const plan::CgroupWrite*> refused;
      for (const plan::CgroupWrite& write : directory.writes) {
        Status changed = change(at, write, &undo);
        if (!changed.ok() && changed.error().err == EINVAL) {
          refused.push_back(&write);
        } else if (!changed.ok()) {
          return failure(changed.error().op, changed.error().err, write.file.view());
        }
      }
      for (const plan::CgroupWrite* write : refused) {
        Status changed = change(at, *write, &undo);
        if (!changed.ok()) return failure(changed.error().op, changed.error().err, write->file.view());
      }
      if (!directory.deviceProgram.empty()) TRY(attachDeviceProgram(at, directory.deviceProgram));
    }
    return Done{};
  };
  Status applied = apply();
  if (applied.ok()) return applied;
  for (auto step = undo.rbegin(); step != undo.rend(); ++step) {
    (void)sys::writeFile(step->directory, step->file.c_str(), step->before).ok();
  }
  return applied;
}

}  // namespace bulkhead::cgroup
