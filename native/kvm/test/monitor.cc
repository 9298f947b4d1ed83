#include "monitor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "events/clock.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

extern char** environ;

namespace bulkhead::vm {
namespace {

constexpr int kNotEnded = -1000;

bool isReady(int fd, int patienceMs) {
  struct pollfd ready = {fd, POLLIN, 0};
  return sys::retry([&] { return poll(&ready, 1, patienceMs); }) == 1;
}

std::string besideThisTest(const char* name) {
  char self[512] = {};
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return name;
  return std::string(self).substr(0, std::string_view(self).rfind('/') + 1) + name;
}

/** A descriptor that a new program has too, and what the monitor calls it. */
struct Handed {
  Fd fd;
  std::string name;
};
Handed hand(const Fd& from) {
  Fd inherited(dup(from.get()));
  std::string name = "fd:" + std::to_string(inherited.get());
  return {std::move(inherited), std::move(name)};
}

}  // namespace

Result<Monitor> Monitor::start(std::string_view kernel, const std::vector<std::string>& words) {
  Monitor monitor;
  const Fd file = TRY(sys::memoryFile("kernel", 0));
  TRY(sys::writeAll(file.get(), kernel.data(), kernel.size()));
  sys::Pair serial = TRY(sys::pipePair());
  sys::Pair errors = TRY(sys::pipePair());
  sys::Pair control = TRY(sys::socketPair(SOCK_SEQPACKET));
  monitor.serial_ = std::move(serial.left);
  monitor.errors_ = std::move(errors.left);
  monitor.control_ = std::move(control.left);
  const Handed handed[] = {hand(file), hand(serial.right), hand(control.right)};

  const std::string path = besideThisTest("bulkhead-vmm");
  std::vector<std::string> all = {path,           "--kernel",  handed[0].name, "--serial",
                                  handed[1].name, "--control", handed[2].name};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> arguments;
  for (std::string& word : all) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, errors.right.get(), STDERR_FILENO);
  const int err = posix_spawn(&monitor.pid_, path.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (err != 0) return failure("posix_spawn", err, path);
  monitor.process_ = TRY(sys::openPid(monitor.pid_));
  return monitor;
}

Monitor::Monitor(Monitor&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      process_(std::move(other.process_)),
      control_(std::move(other.control_)),
      serial_(std::move(other.serial_)),
      errors_(std::move(other.errors_)) {}

Monitor::~Monitor() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::string Monitor::ask(std::string_view request, int patienceMs) const {
  if (send(control_.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "the end";
  if (!isReady(control_.get(), patienceMs)) return "silence";
  char text[16'384];
  const ssize_t size = recv(control_.get(), text, sizeof text, 0);
  return size <= 0 ? "the end" : std::string(text, static_cast<size_t>(size));
}

uint64_t Monitor::number(const std::string& name) const {
  const std::string view = ask("view");
  const std::string key = "\"" + name + "\":";
  const size_t at = view.find(key);
  return at == std::string::npos ? 0 : strtoull(view.c_str() + at + key.size(), nullptr, 10);
}

bool Monitor::counts(const std::string& name) const {
  const uint64_t before = number(name);
  for (const uint64_t end = monotonicNs() + uint64_t{kPatienceMs} * 1'000'000; monotonicNs() < end;) {
    if (number(name) > before) return true;
    struct pollfd nothing = {-1, 0, 0};
    poll(&nothing, 1, 1);
  }
  return false;
}

int Monitor::end(int patienceMs) {
  if (!isReady(process_.get(), patienceMs)) return kNotEnded;
  int status = 0;
  waitpid(std::exchange(pid_, 0), &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

std::string Monitor::said() const {
  std::string all;
  char text[4096];
  for (;;) {
    const long size = sys::retry([&] { return read(errors_.get(), text, sizeof text); });
    if (size <= 0) return all;
    all.append(text, static_cast<size_t>(size));
  }
}

bool haveKvm() {
  const auto opened = sys::openAt(AT_FDCWD, "/dev/kvm", O_RDWR);
  if (!opened.ok()) fprintf(stderr, "no /dev/kvm: this test says nothing\n");
  return opened.ok();
}

}  // namespace bulkhead::vm
