// What the host does not take of a guest's bytes stops nobody, whatever takes them and whoever else writes there.
#include "devices/output.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/socket.h>

#include <atomic>
#include <string>
#include <thread>

#include "events/clock.h"
#include "runner.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kPatienceNs = 5'000'000'000;
constexpr size_t kMuch = 1 << 20;

size_t offerMuch(Output* output) {
  const std::string much(kMuch, 'm');
  return output->offer(reinterpret_cast<const uint8_t*>(much.data()), much.size());
}

bool waits(int fd) {
  return (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
}

Fd copyOf(const Fd& fd) {
  return sys::duplicate(fd.get(), 3).take();
}

/** Writes again and again, and counts. */
struct Writer {
  explicit Writer(Fd to, size_t size) : output(std::move(to)), said(size, 'w') {}
  ~Writer() {
    over = true;
    thread.join();
  }
  void run() {
    while (!over) {
      output.write(reinterpret_cast<const uint8_t*>(said.data()), said.size());
      ++count;
    }
  }
  bool goesOn() const {
    const uint64_t before = count;
    for (const uint64_t end = monotonicNs() + kPatienceNs; count == before;) {
      if (monotonicNs() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }

  Output output;
  std::string said;
  std::atomic<uint64_t> count = 0;
  std::atomic<bool> over = false;
  std::thread thread{[this] { run(); }};
};

}  // namespace

TEST(two_that_write_to_one_pipe_do_not_make_each_other_wait) {
  sys::Pair pipe = sys::pipePair().take();
  // A reader that is slow frees one place, for which both have time to look.
  constexpr int kRounds = 40;
  Writer line(copyOf(pipe.right), 256);
  Writer piece(copyOf(pipe.right), 4096);
  char page[4096];
  bool both = true;
  for (int round = 0; round < kRounds && both; ++round) {
    both = line.goesOn() && piece.goesOn();
    EXPECT_THAT(both, "a writer waits");
    (void)!read(pipe.left.get(), page, sizeof page);
  }
  line.over = piece.over = true;
  // Whoever waits goes on when there is room.
  EXPECT(fcntl(pipe.left.get(), F_SETFL, O_NONBLOCK) == 0);
  while (!both && read(pipe.left.get(), page, sizeof page) > 0) continue;
}

TEST(an_output_does_not_wait_and_leaves_what_it_was_given_as_it_was) {
  sys::Pair pipe = sys::pipePair().take();
  const Fd given = copyOf(pipe.right);
  Output output(std::move(pipe.right));
  EXPECT(!waits(output.fd()) && waits(given.get()));
  const size_t taken = offerMuch(&output);
  EXPECT(taken > 0 && taken < kMuch && output.droppedBytes() == 0);
  EXPECT(offerMuch(&output) == 0);
  output.write(reinterpret_cast<const uint8_t*>("dropped"), 7);
  EXPECT(output.droppedBytes() == 7);
  // As a machine that runs has it.
  signal(SIGPIPE, SIG_IGN);
  pipe.left.reset();
  EXPECT(offerMuch(&output) == kMuch && output.droppedBytes() == 7 + kMuch);
}

TEST(a_pipe_of_somebody_elses_is_not_waited_for_either) {
  sys::Pair pipe = sys::pipePair().take();
  const auto before = static_cast<uid_t>(setfsuid(65534));
  Output output(std::move(pipe.right));
  setfsuid(before);
  const size_t taken = offerMuch(&output);
  EXPECT(taken > 0 && taken < kMuch);
}

TEST(a_socket_is_not_waited_for_and_stays_as_it_is_for_others) {
  sys::Pair pair = sys::socketPair(SOCK_STREAM).take();
  const Fd given = copyOf(pair.right);
  Output output(std::move(pair.right));
  const size_t taken = offerMuch(&output);
  EXPECT(taken > 0 && taken < kMuch && offerMuch(&output) == 0);
  EXPECT(waits(given.get()));
  pair.left.reset();
  EXPECT(offerMuch(&output) == kMuch && output.droppedBytes() == kMuch);
}

TEST(neither_side_of_a_terminal_is_waited_for) {
  for (const bool master : {false, true}) {
    int sides[2];
    EXPECT(openpty(&sides[1], &sides[0], nullptr, nullptr, nullptr) == 0);
    Fd side(sides[master ? 1 : 0]);
    const Fd other(sides[master ? 0 : 1]);
    const Fd given = copyOf(side);
    Output output(std::move(side));
    const size_t taken = offerMuch(&output);
    EXPECT(taken > 0 && taken < kMuch);
    // A terminal and no other one.
    struct pollfd ready = {other.get(), POLLIN, 0};
    EXPECT(master || poll(&ready, 1, 0) == 1);
    EXPECT(master || waits(given.get()));
  }
}

TEST(a_file_takes_everything) {
  const Fd file = sys::memoryFile("output", 0).take();
  Output output(copyOf(file));
  EXPECT(offerMuch(&output) == kMuch && offerMuch(&output) == kMuch);
  EXPECT(lseek(file.get(), 0, SEEK_END) == 2 * kMuch);
}

}  // namespace bulkhead::vm
