// A monitor that has no descriptor left is none that is busy with saying so.
#include "events/listener.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

#include <fstream>

#include "boot/tiny_image.h"
#include "events/clock.h"
#include "monitor.h"
#include "vsock_bridge.h"

extern "C" const char guestCounts[], guestCountsEnd[];

namespace bulkhead::vm {
namespace {

/** As long as it lasts, this process opens no more than `count` files; all that it can with -1. */
class OpenFiles {
 public:
  explicit OpenFiles(rlim_t count) {
    EXPECT(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const struct rlimit limit = {count, before_.rlim_max};
    EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  }
  ~OpenFiles() { EXPECT(setrlimit(RLIMIT_NOFILE, &before_) == 0); }

 private:
  struct rlimit before_ = {};
};

/** All below it are in use. */
rlim_t firstFree() {
  return static_cast<rlim_t>(Fd(fcntl(0, F_DUPFD_CLOEXEC, 0)).get());
}

Fd program() {
  return Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

bool reach(const Fd& program, const std::string& path) {
  const sockaddr_un address = addressOf(path);
  return connect(program.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

bool hungUp(const Fd& program) {
  char byte = 0;
  return recv(program.get(), &byte, 1, MSG_DONTWAIT) == 0;
}

std::string openFilesOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/limits");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("Max open files")) return line;
  }
  return "";
}

}  // namespace

TEST(who_connects_when_no_descriptor_is_left_is_hung_up_on) {
  Bridge bridge;
  const Fd programs[] = {program(), program()};
  {
    const OpenFiles few(firstFree());
    for (const Fd& each : programs) {
      EXPECT(reach(each, bridge.path));
      (void)bridge.driver->wait(0);
      EXPECT(hungUp(each));
      // And is not told of again.
      EXPECT(!bridge.driver->wait(0));
    }
  }
  bridge.post(1);
  const Fd later = bridge.greet("CONNECT 1024\n");
  EXPECT(bridge.isNext(Operation::request));
}

TEST(a_monitor_opens_as_many_files_as_it_may) {
  if (!haveKvm()) return;
  constexpr rlim_t kFew = 256;
  auto started = [] {
    const OpenFiles few(kFew);
    return Monitor::start(tinyImage({guestCounts, guestCountsEnd}), {"--memory-mib", "2"});
  }();
  EXPECT(started.ok());
  if (!started.ok()) return;
  EXPECT_TEXT(started.value().ask("state"), "{\"state\":\"running\"}");
  struct rlimit all = {};
  EXPECT(getrlimit(RLIMIT_NOFILE, &all) == 0);
  const std::string line = openFilesOf(started.value().pid());
  const std::string hard = std::to_string(all.rlim_max);
  EXPECT_THAT(line.find(hard) != line.rfind(hard), line.c_str());
  EXPECT_TEXT(started.value().ask("stop"), "{\"state\":\"stopped\"}");
}

}  // namespace bulkhead::vm
