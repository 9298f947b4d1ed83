// restore-bench MONITOR [COUNT]: how long a machine of 128 MiB, of which its guest has written to 92, takes from a
// snapshot's files to its guest, jailed as always (src/jail), in no namespaces of its own: from the monitor's start to
// the guest's first byte, and to a program's answer to what it was asked before its machine was there; the latter with
// memory that is locked too. Files are in the page cache. The last line is one JSON object.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "boot/tiny_image.h"
#include "events/clock.h"
#include "memory/layout.h"
#include "snapshot/frame_receiver.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

extern "C" const char guestRepeats[], guestRepeatsEnd[], guestReplies[], guestRepliesEnd[];
extern char** environ;

namespace bulkhead::vm {
namespace {

constexpr int kPatienceMs = 20'000;

/** A descriptor that a monitor inherits under the same number. */
Result<std::string> inherited(const Fd& fd) {
  TRY(sys::check("fcntl", [&] { return fcntl(fd.get(), F_SETFD, 0); }));
  return "fd:" + std::to_string(fd.get());
}

struct Monitor {
  pid_t pid = 0;
  Fd serial;
  Fd input;

  ~Monitor() {
    if (pid == 0) return;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  Status start(const char* path, std::vector<std::string> words) {
    sys::Pair said = TRY(sys::pipePair());
    sys::Pair asked = TRY(sys::pipePair());
    // What it is asked is there before it is.
    TRY(sys::writeAll(asked.right.get(), "?", 1));
    const std::string device = "console,out=fd:2,in=" + TRY(inherited(asked.left));
    for (const std::string& word :
         {std::string("--serial"), TRY(inherited(said.right)), std::string("--device"), device}) {
      words.push_back(word);
    }
    std::vector<char*> all = {const_cast<char*>(path)};
    for (const std::string& word : words) all.push_back(const_cast<char*>(word.c_str()));
    all.push_back(nullptr);
    const int err = posix_spawn(&pid, path, nullptr, nullptr, all.data(), environ);
    if (err != 0) return failure("posix_spawn", err, path);
    serial = std::move(said.left);
    input = std::move(asked.right);
    return Done{};
  }
  /** What its first thread, which reads memory that is locked, has had of a processor; 0 where the kernel keeps no
   * books. */
  uint64_t ranNs() const {
    uint64_t ran = 0;
    std::ifstream("/proc/" + std::to_string(pid) + "/schedstat") >> ran;
    return ran;
  }
  /** Waits for the guest's next byte. */
  Status hear() const {
    struct pollfd ready = {serial.get(), POLLIN, 0};
    if (poll(&ready, 1, kPatienceMs) != 1 || (ready.revents & POLLIN) == 0) return failure("guest", ETIMEDOUT);
    char byte;
    TRY(sys::readSome(serial.get(), &byte, 1));
    return Done{};
  }
};

struct Snapshot {
  SnapshotFiles files = {sys::memoryFile("state", 0).take(), sys::memoryFile("memory", 0).take()};
  /** How long the machine stood still for it. */
  uint64_t stoodStillNs = 0;
};

/** Of a guest that has said so often that it is there. */
Status take(const char* path, std::string_view code, int times, Snapshot* snapshot) {
  const std::string image = tinyImage(code);
  const Fd kernel = TRY(sys::memoryFile("kernel", 0));
  TRY(sys::writeAll(kernel.get(), image.data(), image.size()));
  sys::Pair control = TRY(sys::socketPair(SOCK_SEQPACKET));
  Monitor monitor;
  TRY(monitor.start(
      path, {"--kernel", TRY(inherited(kernel)), "--memory-mib", "128", "--control", TRY(inherited(control.right))}));
  for (int time = 0; time < times; ++time) TRY(monitor.hear());
  sys::Pair frames = TRY(sys::pipePair());
  TRY(sys::check("fcntl", [&] { return fcntl(frames.right.get(), F_SETPIPE_SZ, kMaxFrameBytes); }));
  TRY(sys::check("fcntl", [&] { return fcntl(frames.right.get(), F_SETFL, O_NONBLOCK); }));
  const int passed = frames.right.get();
  TRY(sys::sendMessage(control.left.get(), "save", 4, &passed, 1));
  frames.right.reset();
  TRY(FrameReceiver(std::move(frames.left), snapshot->files, 128 * layout::kMiB).receive());
  char said[512] = {};
  struct pollfd ready = {control.left.get(), POLLIN, 0};
  if (poll(&ready, 1, kPatienceMs) != 1 || recv(control.left.get(), said, sizeof said - 1, 0) <= 0) {
    return failure("snapshot", ETIMEDOUT);
  }
  const char* duration = strstr(said, "\"durationNs\":");
  if (duration == nullptr) return failure("snapshot", EPROTO, said);
  snapshot->stoodStillNs = strtoull(duration + 13, nullptr, 10);
  return Done{};
}

struct Times {
  double p50Ms;
  double p99Ms;
};

Times timesOf(std::vector<uint64_t> took) {
  std::sort(took.begin(), took.end());
  const auto at = [&](double part) {
    return static_cast<double>(took[static_cast<size_t>(part * static_cast<double>(took.size() - 1))]) / 1e6;
  };
  return Times{at(0.5), at(0.99)};
}

struct Restored {
  Times all;
  /** Of it on a processor; the rest waited for one. */
  Times ran;
};

Result<Restored> restore(const char* path, const Snapshot& snapshot, int count, bool locked) {
  std::vector<std::string> words = {"--restore", TRY(inherited(snapshot.files.state)), "--memory",
                                    TRY(inherited(snapshot.files.memory))};
  if (locked) words.push_back("--locked");
  std::vector<uint64_t> took;
  std::vector<uint64_t> ran;
  for (int round = 0; round < count; ++round) {
    Monitor monitor;
    const uint64_t began = monotonicNs();
    TRY(monitor.start(path, words));
    TRY(monitor.hear());
    took.push_back(monotonicNs() - began);
    ran.push_back(monitor.ranNs());
  }
  return Restored{timesOf(std::move(took)), timesOf(std::move(ran))};
}

Status bench(int count, char** words) {
  if (count < 2) return failure("usage", EINVAL, "restore-bench MONITOR [COUNT]");
  const char* path = words[1];
  const int rounds = count > 2 ? std::max(atoi(words[2]), 1) : 50;
  Snapshot repeats;
  Snapshot replies;
  TRY(take(path, {guestRepeats, guestRepeatsEnd}, 3, &repeats));
  // It has said that it is there, and answered the first question.
  TRY(take(path, {guestReplies, guestRepliesEnd}, 2, &replies));
  const Times first = TRY(restore(path, repeats, rounds, false)).all;
  const Times reply = TRY(restore(path, replies, rounds, false)).all;
  const auto [locked, ran] = TRY(restore(path, replies, rounds, true));
  const double saveMs = static_cast<double>(repeats.stoodStillNs) / 1e6;
  printf("restore to the guest's first byte: p50 %.2f ms, p99 %.2f ms\n", first.p50Ms, first.p99Ms);
  printf("restore to a program's answer: p50 %.2f ms, p99 %.2f ms\n", reply.p50Ms, reply.p99Ms);
  printf("the same with locked memory: p50 %.2f ms, p99 %.2f ms\n", locked.p50Ms, locked.p99Ms);
  printf("of that on a processor: p50 %.2f ms, p99 %.2f ms\n", ran.p50Ms, ran.p99Ms);
  printf("the machine stood still for its snapshot: %.2f ms\n", saveMs);
  printf(
      "{\"p50Ms\":%.3f,\"p99Ms\":%.3f,\"replyP50Ms\":%.3f,\"replyP99Ms\":%.3f,\"lockedP50Ms\":%.3f,"
      "\"lockedP99Ms\":%.3f,\"lockedRanP50Ms\":%.3f,\"lockedRanP99Ms\":%.3f,\"saveMs\":%.3f}\n",
      first.p50Ms, first.p99Ms, reply.p50Ms, reply.p99Ms, locked.p50Ms, locked.p99Ms, ran.p50Ms, ran.p99Ms, saveMs);
  return Done{};
}

}  // namespace
}  // namespace bulkhead::vm

int main(int count, char** words) {
  const auto done = bulkhead::vm::bench(count, words);
  if (!done.ok())
    fprintf(stderr, "%s: %s (%s)\n", done.error().op, strerror(done.error().err), done.error().path.c_str());
  return done.ok() ? 0 : 1;
}
