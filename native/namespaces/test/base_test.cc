// The mount namespace that containers' are copied from, and what becomes of who goes there. Needs root.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "init/base.h"
#include "runner.h"

namespace bulkhead::init {
namespace {

std::string names(const char* directory) {
  std::set<std::string> found;
  DIR* entries = opendir(directory);
  if (entries == nullptr) return "(none)";
  while (const dirent* entry = readdir(entries)) {
    if (entry->d_name[0] != '.') found.insert(entry->d_name);
  }
  closedir(entries);
  std::string list;
  for (const std::string& name : found) list += (list.empty() ? "" : " ") + name;
  return list;
}

/** In a process and a mount namespace of its own, whose failures are counted here. */
void apart(void (*body)()) {
  const int before = test::failures();
  const pid_t child = fork();
  if (child == 0) {
    EXPECT(unshare(CLONE_NEWNS) == 0);
    EXPECT(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    body();
    _exit(test::failures() == before ? 0 : 1);
  }
  int status = 0;
  EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(aBaseHasNothingOfTheHostAndWhoLeavesItIsWhereHeWas) {
  apart([] {
    struct stat before;
    struct stat after;
    EXPECT(stat("/", &before) == 0);
    Result<Base> base = Base::make();
    EXPECT(base.ok());
    if (!base.ok()) return;
    EXPECT(base.value().moveTo(40).ok());
    EXPECT(fcntl(40, F_GETFD) == FD_CLOEXEC && fcntl(41, F_GETFD) == FD_CLOEXEC);
    EXPECT(base.value().enter().ok());
    EXPECT_TEXT(names("/"), "empty proc sys");
    EXPECT_TEXT(names("/empty"), "");
    EXPECT(access("/proc/version", F_OK) == 0 && access("/proc/self", F_OK) < 0 && access("/proc/1", F_OK) < 0);
    EXPECT(mkdir("/made", 0700) < 0 && errno == EROFS);
    // Its network namespace is going, with the loopback.
    EXPECT(access("/sys/class/net", F_OK) == 0 && access("/sys/class/net/eth0", F_OK) < 0);
    base.value().leave();
    EXPECT(stat("/", &after) == 0 && before.st_dev == after.st_dev && before.st_ino == after.st_ino);
  });
}

TEST(aChildOfTheBaseHasItsRootAndNothingElse) {
  apart([] {
    Result<Base> base = Base::make();
    EXPECT(base.ok());
    if (!base.ok()) return;
    EXPECT(base.value().enter().ok());
    const int before = test::failures();
    const pid_t child = fork();
    if (child == 0) {
      EXPECT(unshare(CLONE_NEWNS) == 0);
      EXPECT(mount("root", "/", "tmpfs", 0, nullptr) == 0);
      // A path that begins at "/" does not see what lies over it; one that comes back from below does.
      const int root = open("/proc/..", O_PATH | O_DIRECTORY);
      EXPECT(root >= 0 && leaveBase(root).ok());
      EXPECT_TEXT(names("/"), "");
      EXPECT_TEXT(names("/.."), "");
      const int own = open("/", O_RDONLY | O_DIRECTORY);
      EXPECT(mkdir("/below", 0700) == 0 && chroot("/below") == 0 && fchdir(own) == 0 && chdir("../../..") == 0);
      EXPECT_TEXT(names("."), "below");
      _exit(test::failures() == before ? 0 : 1);
    }
    int status = 0;
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  });
}

TEST(whoHasARootOfItsOwnGetsNoBaseAndKeepsTheRoot) {
  apart([] {
    EXPECT(mount("root", "/tmp", "tmpfs", 0, nullptr) == 0);
    EXPECT(chdir("/tmp") == 0 && mkdir("proc", 0755) == 0 && mount("proc", "proc", "proc", 0, nullptr) == 0);
    EXPECT(chroot(".") == 0);
    Result<Base> base = Base::make();
    EXPECT(!base.ok() && base.error().err == ENOTSUP);
    EXPECT_TEXT(names("/"), "proc");
    EXPECT(umount2("/proc", MNT_DETACH) == 0);
    EXPECT(!Base::make().ok());
    EXPECT_TEXT(names("/"), "proc");
  });
}

}  // namespace
}  // namespace bulkhead::init
