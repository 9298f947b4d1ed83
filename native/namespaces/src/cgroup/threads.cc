#include "cgroup/threads.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::cgroup {
namespace {

constexpr size_t kBits = 8 * sizeof(unsigned long);
// The largest mask that any kernel could want is far below; a bound on a loop that only EINVAL continues.
constexpr size_t kMostWords = 1 << 16;
// A container can nest cgroups only as deep as the kernel lets it; a limit keeps the stack bounded all the same.
constexpr int kDeepest = 64;

class Look {
 public:
  explicit Look(const std::vector<unsigned>& given) {
    for (const unsigned cpu : given) {
      grow(cpu / kBits + 1);
      given_[cpu / kBits] |= 1UL << (cpu % kBits);
    }
  }

  Status below(int at, const char* name, int depth) {
    Result<Fd> opened = sys::openAt(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    // Gone between the listing and the look.
    if (!opened.ok()) return opened.error().err == ENOENT ? Status(Done{}) : Status(opened.error());
    Fd directory = opened.take();
    // v1 lists threads in `tasks`, cgroup2 in `cgroup.threads`.
    Result<Fd> list = sys::openAt(directory.get(), "cgroup.threads", O_RDONLY);
    if (!list.ok() && list.error().err == ENOENT) list = sys::openAt(directory.get(), "tasks", O_RDONLY);
    if (!list.ok()) return list.error().err == ENODEV ? Status(Done{}) : Status(list.error());
    {
      const std::unique_ptr<FILE, int (*)(FILE*)> lines(fdopen(list.value().release(), "re"), fclose);
      if (!lines) return failure("fdopen", ENOMEM, name);
      char line[32];
      while (fgets(line, sizeof line, lines.get()) != nullptr) TRY(thread(atoi(line)));
    }
    if (depth >= kDeepest) return Done{};
    const std::unique_ptr<DIR, int (*)(DIR*)> children(fdopendir(directory.release()), closedir);
    if (!children) return failure("fdopendir", ENOMEM, name);
    while (const struct dirent* entry = readdir(children.get())) {
      if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
      TRY(below(dirfd(children.get()), entry->d_name, depth + 1));
    }
    return Done{};
  }

  ThreadAffinity found() {
    for (size_t word = 0; word < outside_.size(); ++word) {
      for (size_t bit = 0; bit < kBits; ++bit) {
        if ((outside_[word] >> bit & 1) != 0) found_.cpus.push_back(static_cast<unsigned>(word * kBits + bit));
      }
    }
    return std::move(found_);
  }

 private:
  void grow(size_t words) {
    if (words <= mask_.size()) return;
    mask_.resize(words);
    given_.resize(words);
    outside_.resize(words);
  }

  Status thread(pid_t tid) {
    long bytes = -1;
    for (;;) {
      std::fill(mask_.begin(), mask_.end(), 0);
      bytes = syscall(SYS_sched_getaffinity, tid, mask_.size() * sizeof mask_[0], mask_.data());
      // A kernel with more CPUs than the mask has bits says EINVAL (sched_setaffinity(2), "Handling systems with large
      // CPU affinity masks").
      if (bytes >= 0 || errno != EINVAL || mask_.size() >= kMostWords) break;
      grow(mask_.size() * 2);
    }
    if (bytes < 0) return errno == ESRCH ? Status(Done{}) : Status(failure("sched_getaffinity", errno));
    ++found_.threads;
    bool strays = false;
    for (size_t word = 0; word < mask_.size(); ++word) {
      const unsigned long beyond = mask_[word] & ~given_[word];
      strays = strays || beyond != 0;
      outside_[word] |= beyond;
    }
    if (strays) ++found_.straying;
    return Done{};
  }

  std::vector<unsigned long> mask_ = std::vector<unsigned long>(1024 / kBits);
  std::vector<unsigned long> given_ = std::vector<unsigned long>(1024 / kBits);
  std::vector<unsigned long> outside_ = std::vector<unsigned long>(1024 / kBits);
  ThreadAffinity found_;
};

}  // namespace

Result<ThreadAffinity> readAffinity(const Paths& paths, const std::vector<unsigned>& given) {
  const std::string* directory = paths.unified();
  if (directory == nullptr && !paths.entries.empty()) directory = &paths.entries.front().second;
  if (directory == nullptr) return failure("affinity", EINVAL);
  Look look(given);
  TRY(look.below(AT_FDCWD, directory->c_str(), 0));
  return look.found();
}

}  // namespace bulkhead::cgroup
