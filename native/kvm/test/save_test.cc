// A snapshot of a monitor that runs in its jail, taken by whoever asks it, and of monitors that are not what they seem.
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <set>
#include <thread>

#include "boot/tiny_image.h"
#include "frame_scene.h"
#include "memory/layout.h"
#include "monitor.h"
#include "vmm/ask.h"
#include "vmm/named_file.h"

extern "C" const char guestCounts[], guestCountsEnd[];

namespace bulkhead::vm {
namespace {

constexpr uint64_t kMemory = 2 * layout::kMiB;

/** A directory for a control and the files of a snapshot. */
struct Place {
  std::string path;

  Place() {
    char made[] = "/tmp/kvm-save-XXXXXX";
    EXPECT(mkdtemp(made) != nullptr);
    path = made;
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    for (const char* name : {"/control", "/state", "/memory"}) unlink((path + name).c_str());
    rmdir(path.c_str());
  }
  Question saves(int patienceMs = Monitor::kPatienceMs) const {
    return {path + "/control", "save", {path + "/state", path + "/memory"}, kMemory, patienceMs};
  }
  Question question(const char* request) const { return {.control = path + "/control", .request = request}; }
  /** -1: it is not there. */
  long sizeOf(const char* name) const {
    struct stat status = {};
    return stat((path + name).c_str(), &status) == 0 ? status.st_size : -1;
  }
};

/** What the descriptors of a process are, but for its sockets: who asks its control comes and goes. */
std::multiset<std::string> descriptorsOf(pid_t pid) {
  std::multiset<std::string> all;
  const std::string base = "/proc/" + std::to_string(pid) + "/fd/";
  DIR* directory = opendir(base.c_str());
  if (directory == nullptr) return all;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    char target[PATH_MAX] = {};
    if (readlink((base + entry->d_name).c_str(), target, sizeof target - 1) < 0) continue;
    if (!std::string_view(target).starts_with("socket:")) all.insert(target);
  }
  closedir(directory);
  return all;
}

template <class Condition>
bool waits(Condition condition) {
  for (int round = 0; round < Monitor::kPatienceMs && !condition(); ++round) {
    struct pollfd nothing = {-1, 0, 0};
    poll(&nothing, 1, 1);
  }
  return condition();
}

Result<Monitor> startAt(const Place& place) {
  auto started = Monitor::start(tinyImage({guestCounts, guestCountsEnd}),
                                {"--memory-mib", "2", "--control", place.path + "/control"});
  if (!started.ok()) return started.error();
  EXPECT(waits([&] { return ask(place.question("state")).ok(); }));
  return started;
}

/** A monitor of one answer that does as its guest wants with the pipe that it is given. */
class FalseMonitor {
 public:
  FalseMonitor(const Place& place, std::string sent, std::string answer, bool keepsPipe = false)
      : listener_(listenAt(place.path + "/control", SOCK_SEQPACKET).take()), thread_([=, this] {
          struct pollfd ready = {listener_.get(), POLLIN, 0};
          poll(&ready, 1, Monitor::kPatienceMs);
          const Fd asker(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
          char request[32];
          int passed = -1;
          EXPECT(sys::receiveMessage(asker.get(), request, sizeof request, &passed, 1).ok());
          Fd pipe(passed);
          (void)sys::writeAll(pipe.get(), sent.data(), sent.size()).ok();
          if (!keepsPipe) pipe.reset();
          if (!answer.empty()) (void)sys::sendMessage(asker.get(), answer.data(), answer.size()).ok();
          // Until it is hung up on.
          ready = {asker.get(), POLLIN, 0};
          poll(&ready, 1, Monitor::kPatienceMs);
        }) {}
  FalseMonitor(const FalseMonitor&) = delete;
  FalseMonitor& operator=(const FalseMonitor&) = delete;
  ~FalseMonitor() { thread_.join(); }

 private:
  Fd listener_;
  std::thread thread_;
};

std::string frame(FrameKind kind, uint64_t offset, std::string_view bytes) {
  const FrameHead head = {kind, static_cast<uint32_t>(bytes.size()), offset};
  return std::string(reinterpret_cast<const char*>(&head), sizeof head).append(bytes);
}

std::string wholeSnapshot() {
  return frame(FrameKind::memory, kMemory, std::string(kFramePage, 'm')) + frame(FrameKind::state, 0, "state");
}

}  // namespace

TEST(a_monitor_holds_nothing_of_its_snapshot) {
  if (!haveKvm()) return;
  const Place place;
  auto started = startAt(place);
  EXPECT(started.ok());
  if (!started.ok()) return;
  const pid_t monitor = started.value().pid();
  const auto before = descriptorsOf(monitor);
  EXPECT(!before.empty());
  auto answer = ask(place.saves());
  EXPECT(answer.ok() && !answer.value().refused && answer.value().text.starts_with("{\"stateBytes\":"));
  EXPECT(place.sizeOf("/memory") == kMemory + kFramePage && place.sizeOf("/state") > 0);
  EXPECT(waits([&] { return descriptorsOf(monitor) == before; }));
}

TEST(a_monitor_holds_a_pipe_while_it_is_asked_for_a_snapshot_and_outlives_whoever_asks) {
  if (!haveKvm()) return;
  const Place place;
  auto started = startAt(place);
  EXPECT(started.ok());
  if (!started.ok()) return;
  const pid_t monitor = started.value().pid();
  const auto before = descriptorsOf(monitor);
  Fd asker = connectTo(place.path + "/control", SOCK_SEQPACKET).take();
  FramePipe pipe = framePipe();
  EXPECT(fcntl(pipe.writing.get(), F_SETPIPE_SZ, kFramePage) > 0);
  const int passed = pipe.writing.get();
  EXPECT(sys::sendMessage(asker.get(), kSaves.data(), kSaves.size(), &passed, 1).ok());
  pipe.writing.reset();
  // Nobody reads on: it is in the middle of a frame.
  FrameHead head = {};
  EXPECT(sys::readSome(pipe.reading.get(), &head, sizeof head).ok() && head.kind == FrameKind::memory);
  for (const std::string& each : descriptorsOf(monitor)) {
    EXPECT_THAT(before.contains(each) || each.starts_with("pipe:"), each);
  }
  pipe.reading.reset();
  char said[256] = {};
  struct pollfd ready = {asker.get(), POLLIN, 0};
  EXPECT(poll(&ready, 1, Monitor::kPatienceMs) == 1 && recv(asker.get(), said, sizeof said - 1, 0) > 0);
  EXPECT_TEXT(std::string(said),
              "{\"error\":\"snapshot\",\"errno\":\"EPIPE\",\"about\":\"whoever asked for it takes no more of it\"}");
  asker.reset();
  auto state = ask(place.question("state"));
  EXPECT(state.ok());
  if (state.ok()) EXPECT_TEXT(state.value().text, "{\"state\":\"running\"}");
  auto answer = ask(place.saves());
  EXPECT(answer.ok() && !answer.value().refused);
}

TEST(files_of_the_version_before_are_refused_by_a_monitor) {
  if (!haveKvm()) return;
  const Place place;
  auto started = startAt(place);
  EXPECT(started.ok());
  if (!started.ok()) return;
  const Fd asker = connectTo(place.path + "/control", SOCK_SEQPACKET).take();
  const Fd state = sys::memoryFile("state", 0).take();
  const Fd memory = sys::memoryFile("memory", 0).take();
  const int files[] = {state.get(), memory.get()};
  EXPECT(sys::sendMessage(asker.get(), "snapshot", 8, files, 2).ok());
  char said[256] = {};
  struct pollfd ready = {asker.get(), POLLIN, 0};
  EXPECT(poll(&ready, 1, Monitor::kPatienceMs) == 1 && recv(asker.get(), said, sizeof said - 1, 0) > 0);
  EXPECT(std::string_view(said).starts_with("{\"error\":"));
}

TEST(a_false_monitor_leaves_no_files_and_is_told_by_what_it_did) {
  struct Case {
    const char* what;
    std::string sent;
    std::string answer;
    bool keepsPipe;
    int err;
  };
  const std::string answer = "{\"stateBytes\":5}";
  const Case cases[] = {
      {"more memory than there is", frame(FrameKind::memory, 8 * kMemory, std::string(kFramePage, 'm')), answer, true,
       EBADMSG},
      {"nothing", "", "", true, ETIMEDOUT},
      {"an end", "", answer, false, EPIPE},
      {"an end in the middle", wholeSnapshot().substr(0, 100), answer, false, EPIPE},
      {"no answer", wholeSnapshot(), "", true, ETIMEDOUT},
      {"the version before", "", "{\"error\":\"unknown request; there are state and snapshot\"}", false, ENOTSUP},
  };
  for (const Case& each : cases) {
    const Place place;
    const FalseMonitor monitor(place, each.sent, each.answer, each.keepsPipe);
    const auto asked = ask(place.saves(each.err == ETIMEDOUT ? 100 : Monitor::kPatienceMs));
    EXPECT_THAT(!asked.ok() && asked.error().err == each.err, each.what);
    EXPECT_THAT(place.sizeOf("/state") == -1 && place.sizeOf("/memory") == -1, each.what);
  }
}

TEST(a_monitor_that_refuses_is_heard_and_its_files_are_gone) {
  for (const std::string& sent : {std::string(), wholeSnapshot()}) {
    const Place place;
    const FalseMonitor monitor(place, sent, "{\"error\":\"the machine has ended\"}");
    auto asked = ask(place.saves());
    EXPECT(asked.ok() && asked.value().refused);
    if (asked.ok()) EXPECT_TEXT(asked.value().text, "{\"error\":\"the machine has ended\"}");
    EXPECT(place.sizeOf("/state") == -1 && place.sizeOf("/memory") == -1);
  }
}

TEST(a_monitor_that_keeps_its_end_of_the_pipe_reaches_no_file_with_it) {
  const Place place;
  const FalseMonitor monitor(place, wholeSnapshot() + wholeSnapshot(), "{\"stateBytes\":5}", true);
  auto asked = ask(place.saves());
  EXPECT(asked.ok() && !asked.value().refused);
  EXPECT(place.sizeOf("/memory") == kMemory + kFramePage && place.sizeOf("/state") == 5);
  // Files are made and never replaced.
  EXPECT(ask(place.saves()).error().err == EEXIST);
}

}  // namespace bulkhead::vm
