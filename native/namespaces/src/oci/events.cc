// events: what a container uses, once or at an interval, and when the kernel killed for memory.
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "cgroup/usage.h"
#include "oci/command.h"
#include "oci/document.h"
#include "oci/instance.h"
#include "oci/statistics.h"
#include "sys/file.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::oci {
namespace {

using rapidjson::Document;

void printStats(const Instance& instance) {
  Document event(rapidjson::kObjectType);
  setMember(&event, "type", textValue("stats", &event), &event);
  setMember(&event, "id", textValue(instance.id(), &event), &event);
  setMember(&event, "data", statistics(instance.cgroups(), &event), &event);
  puts(toText(event, false).c_str());
  fflush(stdout);
}

void printOom(const Instance& instance) {
  Document event(rapidjson::kObjectType);
  setMember(&event, "type", textValue("oom", &event), &event);
  setMember(&event, "id", textValue(instance.id(), &event), &event);
  puts(toText(event, false).c_str());
  fflush(stdout);
}

/** Readable when something happened to the container's memory: inotify on v2, the controller's eventfd on v1. */
Result<Fd> memoryNotice(const cgroup::Paths& paths) {
  const std::string* directory = paths.find("memory");
  if (directory == nullptr) return failure("openat", ENODEV, "memory");
  if (paths.isV2()) {
    Fd watch(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (inotify_add_watch(watch.get(), (*directory + "/memory.events").c_str(), IN_MODIFY) < 0) {
      return failure("inotify_add_watch", errno);
    }
    return watch;
  }
  Fd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  Fd control = TRY(sys::openAt(AT_FDCWD, (*directory + "/memory.oom_control").c_str(), O_RDONLY));
  const std::string request = std::to_string(event.get()) + " " + std::to_string(control.get());
  TRY(sys::writeFile(AT_FDCWD, (*directory + "/cgroup.event_control").c_str(), request));
  return event;
}

/** "5s", "500ms", "2m" as Go writes durations, or plain seconds; 0 when it is none. */
int64_t intervalMs(const std::string& text) {
  char* unit = nullptr;
  const double number = strtod(text.c_str(), &unit);
  const std::string_view suffix = unit;
  const double factor = suffix == "ms" ? 1 : suffix == "s" || suffix.empty() ? 1000 : suffix == "m" ? 60'000 : 0;
  const double result = number * factor;
  return result >= 1 && result <= 86'400'000 ? static_cast<int64_t>(result) : 0;
}

}  // namespace

int runEvents(Session* session, const Arguments& arguments) {
  Instance instance(session);
  if (!instance.open(arguments.operands()[0])) return kFailed;
  if (instance.phase() == Phase::stopped) return exitStatus(session->fail("container not running"));
  if (arguments.flag("stats")) {
    printStats(instance);
    return 0;
  }
  const int64_t interval = intervalMs(arguments.value("interval", "5s"));
  if (interval == 0) return exitStatus(session->fail("--interval is a duration from 1ms to 24h, as 5s"));
  Result<Fd> process = sys::openProcess(instance.process());
  if (!process.ok()) return exitStatus(session->fail("container not running", process.error()));
  const cgroup::Paths paths = instance.cgroups();
  Result<Fd> notice = memoryNotice(paths);
  uint64_t killed = cgroup::readUsage(paths).oomKills;
  for (;;) {
    struct pollfd slots[] = {{process.value().get(), POLLIN, 0}, {notice.ok() ? notice.value().get() : -1, POLLIN, 0}};
    const long ready = sys::retry([&] { return poll(slots, 2, static_cast<int>(interval)); });
    if (slots[1].revents != 0) {
      char drained[4096];
      (void)!read(slots[1].fd, drained, sizeof drained);
    }
    const uint64_t now = cgroup::readUsage(paths).oomKills;
    if (now > killed) printOom(instance);
    killed = now;
    if (slots[0].revents != 0) return 0;
    if (ready == 0) printStats(instance);
  }
}

}  // namespace bulkhead::oci
