#include "leftovers.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

namespace bulkhead::test {
namespace {

std::vector<std::string> entries(const std::string& directory) {
  std::vector<std::string> names;
  DIR* stream = opendir(directory.c_str());
  if (stream == nullptr) return names;
  while (const struct dirent* entry = readdir(stream)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(stream);
  return names;
}

void removeTree(const std::string& path) {
  for (const std::string& name : entries(path)) {
    const std::string below = path + "/" + name;
    struct stat status;
    if (lstat(below.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
      removeTree(below);
    } else {
      unlink(below.c_str());
    }
  }
  rmdir(path.c_str());
}

void compare(const std::set<std::string>& before, const std::set<std::string>& later, const char* kind,
             std::string* text) {
  for (const std::string& one : later) {
    if (!before.contains(one)) *text += std::string(kind) + " is new: " + one + "; ";
  }
  for (const std::string& one : before) {
    if (!later.contains(one)) *text += std::string(kind) + " is gone: " + one + "; ";
  }
}

std::set<std::string> without(std::set<std::string> all, const std::set<std::string>& known) {
  for (const std::string& one : known) all.erase(one);
  return all;
}

[[noreturn]] void giveUp(const char* what) {
  perror(what);
  exit(2);
}

}  // namespace

Leftovers Leftovers::now(const Scene& scene) {
  Leftovers seen;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) seen.mounts_.insert(line);
  for (const std::string& fd : entries("/proc/self/fd")) {
    char target[256] = {};
    const ssize_t size = readlink(("/proc/self/fd/" + fd).c_str(), target, sizeof target - 1);
    // The directory stream that lists them is among them, for a moment; the tracer's socket differs from run to run.
    if (size > 0 && strstr(target, "/fd") == nullptr && strstr(target, "socket:") == nullptr) {
      seen.descriptors_.insert(fd + " -> " + target);
    }
  }
  for (const std::string& name : entries(scene.options().runDirectory)) seen.files_.insert(name);
  for (const std::string& name : entries(scene.options().area)) {
    // Kept from run to run by design.
    if (name != "upper" && name != "work" && name != "log" && name != "log.1") seen.files_.insert(name);
  }
  return seen;
}

std::string Leftovers::difference(const Leftovers& later) const {
  std::string text;
  // Copies of others' mounts go when their owner removes the directory they stand on; only a new one would be ours.
  compare({}, without(later.mounts_, mounts_), "a mount", &text);
  compare(descriptors_, later.descriptors_, "a descriptor", &text);
  compare(files_, later.files_, "a file", &text);
  return text;
}

std::set<pid_t> Leftovers::children() {
  std::ifstream list("/proc/self/task/" + std::to_string(getpid()) + "/children");
  std::set<pid_t> pids;
  for (pid_t pid = 0; list >> pid;) pids.insert(pid);
  return pids;
}

bool Leftovers::awaitOnly(const std::set<pid_t>& kept) {
  for (int round = 0; round < 5'000; ++round) {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, __WALL | WNOHANG);
    if (pid > 0) {
      // Made in the moment its maker was killed, so the tracer never heard of it: it runs on by itself.
      if (WIFSTOPPED(status)) ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
      continue;
    }
    const std::set<pid_t> now = children();
    if (std::includes(kept.begin(), kept.end(), now.begin(), now.end())) return true;
    poll(nullptr, 0, 2);
  }
  return false;
}

std::vector<pid_t> Leftovers::processesOf(const Scene& scene) {
  std::vector<pid_t> pids;
  for (const auto& [controller, directory] : scene.cgroups().entries) {
    std::ifstream file(directory + "/cgroup.procs");
    for (pid_t pid = 0; file >> pid;) pids.push_back(pid);
  }
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  return pids;
}

std::vector<std::string> Leftovers::recordsOf(const Scene& scene) {
  return entries(scene.options().runDirectory);
}

bool Leftovers::hasExit(const Scene& scene) {
  return access((scene.options().runDirectory + "/exit").c_str(), F_OK) == 0;
}

bool Leftovers::isInterruptible(long call) {
  constexpr long kCalls[] = {SYS_open,     SYS_openat,        SYS_openat2,  SYS_read,    SYS_pread64,    SYS_write,
                             SYS_pwrite64, SYS_writev,        SYS_sendmsg,  SYS_recvmsg, SYS_waitid,     SYS_poll,
                             SYS_ppoll,    SYS_ftruncate,     SYS_dup2,     SYS_dup3,    SYS_fstatfs,    SYS_epoll_wait,
                             SYS_clone3,   SYS_epoll_pwait,   SYS_fsconfig, SYS_fsmount, SYS_move_mount, SYS_mkdirat,
                             SYS_unlinkat, SYS_mount_setattr, SYS_open_tree};
  return std::find(std::begin(kCalls), std::end(kCalls), call) != std::end(kCalls);
}

Stage::Stage() {
  char root[] = "/tmp/bulkhead-sweep-XXXXXX";
  char run[] = "/dev/shm/bulkhead-sweep-XXXXXX";
  if (mkdtemp(root) == nullptr || mkdtemp(run) == nullptr) giveUp("mkdtemp");
  root_ = root;
  runDirectory_ = run;
  const std::string bin = layer() + "/bin";
  if (mkdir(layer().c_str(), 0755) < 0 || mkdir(bin.c_str(), 0755) < 0) giveUp("mkdir");
  std::ifstream source("/bin/busybox", std::ios::binary);
  std::ofstream target(bin + "/busybox", std::ios::binary);
  target << source.rdbuf();
  target.close();
  if (!source || !target || chmod((bin + "/busybox").c_str(), 0755) < 0) giveUp("/bin/busybox (busybox-static)");
  for (const char* name : {"true", "sleep"}) {
    if (symlink("busybox", (bin + "/" + name).c_str()) < 0) giveUp("symlink");
  }
}

Stage::~Stage() {
  removeTree(root_);
  removeTree(runDirectory_);
}

}  // namespace bulkhead::test
