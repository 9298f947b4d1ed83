// What benchmarks of the monitor need a process of their own for: one that is small, so that a child is made at once,
// and that reads the clock when something is there and not when an interpreter gets to it. Answers with one line of
// JSON.
//   machine-bench guest                     the kernel image of a guest that says one line and waits, on standard
//   output machine-bench start MONITOR COUNT       each time from a monitor's start to its guest's first byte
//   machine-bench rate MONITOR COUNT WIDTH  machines made, heard of and ended per second, so many at a time
//   machine-bench exits                     what leaving the guest costs, for a port write and a register read
//   machine-bench watch LINE WORD...        runs a command, to its end: first byte, and line that begins with LINE
// The monitor is jailed as always (src/jail), and in no namespaces of its own.
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
/** A whole kernel may boot meanwhile, in software. */
constexpr int kPatienceMs = 300'000;

std::string helloImage() {
  return tinyImage({guestSaysHello, guestSaysHelloEnd});
}

/** A process whose standard output is read here. It is killed with what it made when this goes. */
class Child {
 public:
  static Result<Child> start(const std::vector<const char*>& words) {
    sys::Pair pipe = TRY(sys::pipePair());
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe.right.get(), STDOUT_FILENO);
    std::vector<char*> arguments;
    for (const char* word : words) arguments.push_back(const_cast<char*>(word));
    arguments.push_back(nullptr);
    Child child(std::move(pipe.left));
    child.beganNs_ = monotonicNs();
    const int err = posix_spawnp(&child.pid_, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (err != 0) return failure("posix_spawn", err, arguments[0]);
    return child;
  }
  Child(Child&& other) noexcept
      : output_(std::move(other.output_)), pid_(std::exchange(other.pid_, 0)), beganNs_(other.beganNs_) {}
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  /** Some of its output, and how long after its start that was there; ENODATA at its end. */
  Result<uint64_t> read(std::string* text) const {
    struct pollfd ready = {output_.get(), POLLIN, 0};
    if (poll(&ready, 1, kPatienceMs) != 1) return failure("guest", ETIMEDOUT);
    const uint64_t nowNs = monotonicNs() - beganNs_;
    char bytes[4096];
    const ssize_t count = ::read(output_.get(), bytes, sizeof bytes);
    if (count <= 0) return failure("guest", count < 0 ? errno : ENODATA, *text);
    text->append(bytes, static_cast<size_t>(count));
    return nowNs;
  }
  uint64_t beganNs() const { return beganNs_; }

 private:
  explicit Child(Fd output) : output_(std::move(output)) {}

  Fd output_;
  pid_t pid_ = 0;
  uint64_t beganNs_ = 0;
};

/** The image in a file that children inherit. */
Result<Fd> inheritedImage() {
  const std::string image = helloImage();
  Fd file = TRY(sys::memoryFile("kernel", 0));
  TRY(sys::writeAll(file.get(), image.data(), image.size()));
  TRY(sys::check("fcntl", [&] { return fcntl(file.get(), F_SETFD, 0); }));
  return file;
}

/** A machine from its monitor's start to its end; answers when its guest was first heard. */
Result<uint64_t> startAndEnd(const char* monitor, int kernel) {
  const std::string name = "fd:" + std::to_string(kernel);
  const Child child = TRY(Child::start({monitor, "--kernel", name.c_str(), "--memory-mib", "128"}));
  std::string text;
  return child.read(&text);
}

Status start(char** words) {
  const Fd kernel = TRY(inheritedImage());
  const int count = atoi(words[1]);
  printf("{\"firstByteNs\":[");
  for (int index = 0; index < count; ++index) {
    printf("%s%lu", index == 0 ? "" : ",", TRY(startAndEnd(words[0], kernel.get())));
  }
  printf("]}\n");
  return Done{};
}

Status rate(char** words) {
  const Fd kernel = TRY(inheritedImage());
  std::atomic<int> left = atoi(words[1]), ended = 0;
  const uint64_t beganNs = monotonicNs();
  std::vector<std::thread> threads;
  for (int index = 0; index < atoi(words[2]); ++index) {
    threads.emplace_back([&] {
      while (left-- > 0) ended += startAndEnd(words[0], kernel.get()).ok() ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (ended != atoi(words[1])) return failure("guest", EPROTO, "not every machine was heard of");
  printf("{\"perSecond\":%.3f}\n", ended / (static_cast<double>(monotonicNs() - beganNs) / 1e9));
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

Status exits(char**) {
  const double nothing = TRY(roundNs({guestDoesNothing, guestDoesNothingEnd}));
  const double port = TRY(roundNs({guestWritesToAPort, guestWritesToAPortEnd}));
  const double memory = TRY(roundNs({guestReadsARegister, guestReadsARegisterEnd}));
  printf("{\"emptyRoundNs\":%.0f,\"portWriteNs\":%.0f,\"registerReadNs\":%.0f}\n", nothing, port, memory);
  return Done{};
}

/** Says when the first byte of a command's output came, and when the line. */
Status watch(char** words) {
  std::vector<const char*> command;
  for (char** word = words + 1; *word != nullptr; ++word) command.push_back(*word);
  const Child child = TRY(Child::start(command));
  const std::string line = "\n" + std::string(words[0]);
  std::string text;
  const uint64_t firstNs = TRY(child.read(&text));
  uint64_t lineNs = firstNs;
  while (text.find(line) == std::string::npos) lineNs = TRY(child.read(&text));
  while (child.read(&text).ok()) continue;
  printf("{\"beganNs\":%lu,\"firstByteNs\":%lu,\"lineNs\":%lu}\n", child.beganNs(), firstNs, lineNs);
  return Done{};
}

Status guest(char**) {
  const std::string image = helloImage();
  return sys::writeAll(STDOUT_FILENO, image.data(), image.size());
}

struct Order {
  std::string_view name;
  int words;
  Status (*carryOut)(char** words);
};
constexpr Order kOrders[] = {
    {"guest", 0, guest}, {"start", 2, start}, {"rate", 3, rate}, {"exits", 0, exits}, {"watch", 2, watch}};

Status carryOut(int count, char** words) {
  for (const Order& order : kOrders) {
    if (count >= order.words + 2 && order.name == words[1]) return order.carryOut(words + 2);
  }
  return failure("usage", EINVAL, "see the first lines of machine_bench.cc");
}

}  // namespace
}  // namespace bulkhead::vm

int main(int count, char** words) {
  const auto done = bulkhead::vm::carryOut(count, words);
  if (!done.ok())
    fprintf(stderr, "%s: %s (%s)\n", done.error().op, strerror(done.error().err), done.error().path.c_str());
  return done.ok() ? 0 : 1;
}
