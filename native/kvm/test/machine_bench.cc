// machine-bench MONITOR [COUNT]: what the monitor costs here, jailed as always (src/jail), in no namespaces of its own.
// Starts it COUNT times (default 50) with a guest of five instructions and tells the time from its start to the guest's
// first byte, how many are made and ended per second, and its memory beside the guest's, alone and with twenty at once;
// then what leaving the guest costs. Where KVM interprets kernel code, so are the loops around each exit, which the
// empty loop is for. The last line is one JSON object.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "boot/tiny_image.h"
#include "events/clock.h"
#include "machine/machine.h"
#include "memory/layout.h"
#include "sys/retry.h"
#include "sys/syscalls.h"
#include "virtio/entropy.h"

extern "C" const char guestSaysHello[], guestSaysHelloEnd[], guestDoesNothing[], guestDoesNothingEnd[],
    guestWritesToAPort[], guestWritesToAPortEnd[], guestReadsARegister[], guestReadsARegisterEnd[];
extern char** environ;

namespace bulkhead::vm {
namespace {

/** As bench_guests.S says. */
constexpr uint64_t kRounds = 20'000;
constexpr int kPatienceMs = 10'000;
constexpr int kAtATime = 4;
constexpr int kMany = 20;

struct Started {
  pid_t pid;
  Fd output;
  uint64_t firstByteNs;
};

/** A monitor of its own process; its guest has said something. */
Result<Started> startMonitor(const char* path, int kernel) {
  sys::Pair pipe = TRY(sys::pipePair());
  const std::string kernelName = "fd:" + std::to_string(kernel);
  const std::string outputName = "fd:" + std::to_string(pipe.right.get());
  const char* words[] = {path,  "--kernel", kernelName.c_str(), "--serial", outputName.c_str(), "--memory-mib",
                         "128", nullptr};
  // The child has both descriptors by their numbers here.
  TRY(sys::check("fcntl", [&] { return fcntl(pipe.right.get(), F_SETFD, 0); }));
  const uint64_t before = monotonicNs();
  Started started = {};
  const int err = posix_spawn(&started.pid, path, nullptr, nullptr, const_cast<char**>(words), environ);
  if (err != 0) return failure("posix_spawn", err, path);
  struct pollfd ready = {pipe.left.get(), POLLIN, 0};
  if (poll(&ready, 1, kPatienceMs) != 1 || (ready.revents & POLLIN) == 0) return failure("guest", ETIMEDOUT);
  started.firstByteNs = monotonicNs() - before;
  started.output = std::move(pipe.left);
  return started;
}

void endMonitor(const Started& started) {
  kill(started.pid, SIGKILL);
  waitpid(started.pid, nullptr, 0);
}

/** Proportional set size of everything but the guest's memory, in KiB. */
uint64_t ownKib(pid_t pid) {
  std::ifstream maps("/proc/" + std::to_string(pid) + "/smaps");
  uint64_t sum = 0;
  bool guests = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("-") < line.find(' ')) guests = line.find("guest-memory") != std::string::npos;
    if (line.starts_with("Pss:") && !guests) sum += strtoull(line.c_str() + 4, nullptr, 10);
  }
  return sum;
}

double quantileMs(std::vector<uint64_t> values, double at) {
  std::sort(values.begin(), values.end());
  return static_cast<double>(values[static_cast<size_t>(at * static_cast<double>(values.size() - 1))]) / 1e6;
}

/** Machines that are made, heard of and ended per second. */
double ratePerSecond(const char* path, int kernel, int count) {
  std::atomic<int> ended = 0;
  const uint64_t before = monotonicNs();
  std::vector<std::thread> threads;
  for (int index = 0; index < kAtATime; ++index) {
    threads.emplace_back([&] {
      for (int round = 0; round < count; ++round) {
        auto started = startMonitor(path, kernel);
        if (!started.ok()) return;
        endMonitor(started.value());
        ++ended;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return ended / (static_cast<double>(monotonicNs() - before) / 1e9);
}

/** Of each of so many monitors that run at once, on average. */
Result<uint64_t> ownKibOfMany(const char* path, int kernel) {
  std::vector<Started> monitors;
  Status all = Done{};
  while (all.ok() && monitors.size() < kMany) {
    auto started = startMonitor(path, kernel);
    if (started.ok()) {
      monitors.push_back(started.take());
    } else {
      all = started.error();
    }
  }
  uint64_t sum = 0;
  for (const Started& each : monitors) sum += ownKib(each.pid);
  for (const Started& each : monitors) endMonitor(each);
  TRY(std::move(all));
  return sum / kMany;
}

struct Costs {
  double startP50Ms, startP99Ms, perSecond;
  uint64_t pssKib, pssKibOfMany;
  double portWriteNs, registerReadNs;
};

Status benchStarts(const char* path, int count, Costs* costs) {
  const std::string image = tinyImage({guestSaysHello, guestSaysHelloEnd});
  const Fd inherited = TRY(sys::memoryFile("kernel", 0));
  TRY(sys::writeAll(inherited.get(), image.data(), image.size()));
  TRY(sys::check("fcntl", [&] { return fcntl(inherited.get(), F_SETFD, 0); }));
  std::vector<uint64_t> firstBytes;
  uint64_t memoryKib = 0;
  for (int index = 0; index < count; ++index) {
    const Started started = TRY(startMonitor(path, inherited.get()));
    firstBytes.push_back(started.firstByteNs);
    if (index == 0) memoryKib = ownKib(started.pid);
    endMonitor(started);
  }
  costs->startP50Ms = quantileMs(firstBytes, 0.5);
  costs->startP99Ms = quantileMs(firstBytes, 0.99);
  costs->perSecond = ratePerSecond(path, inherited.get(), count);
  costs->pssKib = memoryKib;
  costs->pssKibOfMany = TRY(ownKibOfMany(path, inherited.get()));
  printf("start to the guest's first byte: p50 %.2f ms, p99 %.2f ms\n", costs->startP50Ms, costs->startP99Ms);
  printf("made and ended, %d at a time: %.0f/s\n", kAtATime, costs->perSecond);
  printf("memory beside the guest's: %lu KiB PSS; each of %d: %lu KiB\n", costs->pssKib, kMany, costs->pssKibOfMany);
  return Done{};
}

/** One round of a guest of bench_guests.S, in nanoseconds. */
Result<double> roundNs(std::string_view code) {
  const std::string image = tinyImage(code);
  const BytesSource source(image);
  MachineOptions options;
  options.memory.sizeBytes = 2 * layout::kMiB;
  MachineFiles files;
  files.kvm = TRY(sys::openAt(AT_FDCWD, "/dev/kvm", O_RDWR));
  files.kernel = &source;
  files.serialOutput = TRY(sys::openAt(AT_FDCWD, "/dev/null", O_WRONLY));
  files.devices.push_back(std::make_unique<Entropy>());
  const auto machine = TRY(Machine::create(options, std::move(files)));
  if (TRY(machine->run()) != Outcome::poweredOff) return failure("guest", EPROTO, "it ended otherwise");
  const ProgressPort& progress = machine->progress();
  return static_cast<double>(progress.secondAt() - progress.firstAt()) / static_cast<double>(kRounds);
}

Status benchExits(Costs* costs) {
  const double nothing = TRY(roundNs({guestDoesNothing, guestDoesNothingEnd}));
  printf("round of an empty loop: %.0f ns\n", nothing);
  costs->portWriteNs = TRY(roundNs({guestWritesToAPort, guestWritesToAPortEnd})) - nothing;
  costs->registerReadNs = TRY(roundNs({guestReadsARegister, guestReadsARegisterEnd})) - nothing;
  printf("port write beyond it: %.0f ns\n", costs->portWriteNs);
  printf("register read beyond it: %.0f ns\n", costs->registerReadNs);
  return Done{};
}

Status bench(int count, char** words) {
  if (count < 2) return failure("usage", EINVAL, "machine-bench MONITOR [COUNT]");
  Costs costs = {};
  TRY(benchStarts(words[1], count > 2 ? std::max(atoi(words[2]), 1) : 50, &costs));
  TRY(benchExits(&costs));
  printf(
      "{\"startP50Ms\":%.3f,\"startP99Ms\":%.3f,\"perSecond\":%.1f,\"pssKib\":%lu,\"pssKibOfMany\":%lu,"
      "\"portWriteNs\":%.0f,\"registerReadNs\":%.0f}\n",
      costs.startP50Ms, costs.startP99Ms, costs.perSecond, costs.pssKib, costs.pssKibOfMany, costs.portWriteNs,
      costs.registerReadNs);
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
