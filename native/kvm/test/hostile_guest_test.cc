// Guests that mean harm, each in a monitor of its own process: it answers, it ends when it is told to, and a machine
// beside it runs on.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "boot/tiny_image.h"
#include "monitor.h"
#include "runner.h"
#include "sys/syscalls.h"

#define GUEST(name)             \
  extern "C" const char name[]; \
  extern "C" const char name##End[]
#define IMAGE(name) tinyImage({name, static_cast<size_t>(name##End - name)})
GUEST(guestTicks);
GUEST(guestStorms);
GUEST(guestSaysWithoutEnd);
GUEST(guestFloods);
GUEST(guestIsDeaf);
GUEST(guestSpins);
GUEST(guestReachesEverywhere);
GUEST(guestSendsStrings);
GUEST(guestOverwritesWhatItWasGiven);
GUEST(guestResets);

namespace bulkhead::vm {
namespace {

/** As README.md and src/vmm/main.cc count outcomes. */
constexpr int kPoweredOff = 0;
constexpr int kCannotStart = 1;
constexpr int kReset = 12;
constexpr int kStopped = 16;
/** An answer that comes later than this would be a monitor that somebody starves, on however loaded a machine. */
constexpr int kAnswerMs = 5'000;

const std::vector<std::string> kSmall = {"--memory-mib", "2"};
const std::vector<std::string> kTwoDevices = {"--memory-mib", "2", "--device", "entropy", "--device", "entropy"};

/** While `guest` does what it does: its monitor answers and stops, and another machine goes on. */
void staysGovernable(const char* name, const std::string& guest, const std::vector<std::string>& words,
                     const char* sign) {
  auto neighbour = Monitor::start(IMAGE(guestTicks), kSmall);
  auto harmful = Monitor::start(guest, words);
  EXPECT_THAT(neighbour.ok() && harmful.ok(), name);
  if (!neighbour.ok() || !harmful.ok()) return;
  Monitor& monitor = harmful.value();
  if (sign != nullptr) EXPECT_THAT(monitor.counts(sign), name);
  for (int round = 0; round < 20; ++round) {
    EXPECT_THAT(monitor.ask("state", kAnswerMs) == "{\"state\":\"running\"}", name);
  }
  EXPECT_THAT(neighbour.value().counts("portWrites"), name);
  EXPECT_THAT(monitor.ask("pause", kAnswerMs) == "{\"state\":\"paused\"}", name);
  EXPECT_THAT(monitor.ask("resume", kAnswerMs) == "{\"state\":\"running\"}", name);
  EXPECT_THAT(monitor.ask("stop", kAnswerMs) == "{\"state\":\"stopped\"}", name);
  EXPECT_THAT(monitor.end() == kStopped, name);
  EXPECT_THAT(neighbour.value().counts("portWrites"), name);
}

/** All that a monitor says of a machine that ended by itself is one line. */
void endsAlone(const std::string& guest, int outcome, const char* name) {
  auto started = Monitor::start(guest, kTwoDevices);
  EXPECT_THAT(started.ok(), name);
  if (!started.ok()) return;
  const int ended = started.value().end();
  const std::string said = started.value().said();
  EXPECT_THAT(ended == outcome, name + (" " + std::to_string(ended)) + said);
  EXPECT_THAT(said.starts_with("{\"outcome\":") && said.find('\n') == said.size() - 1, said);
}

}  // namespace

TEST(hostile_doorbells_without_end_starve_nobody) {
  if (!haveKvm()) return;
  staysGovernable("doorbells", IMAGE(guestStorms), kTwoDevices, "doorbells");
}

TEST(hostile_flood_of_a_serial_port_that_nobody_reads_starves_nobody) {
  if (!haveKvm()) return;
  staysGovernable("flood", IMAGE(guestFloods), kSmall, "portWrites");
}

TEST(hostile_guest_that_never_stops_is_stopped) {
  if (!haveKvm()) return;
  staysGovernable("deaf", IMAGE(guestIsDeaf), kSmall, nullptr);
  staysGovernable("spinning", IMAGE(guestSpins), kSmall, nullptr);
}

TEST(hostile_guest_that_says_without_end_is_stopped) {
  if (!haveKvm()) return;
  sys::Pair said = sys::pipePair().take();
  Fd inherited(dup(said.right.get()));
  auto started = Monitor::start(IMAGE(guestSaysWithoutEnd), {"--memory-mib", "2", "--device",
                                                             "ports,stdout=fd:" + std::to_string(inherited.get())});
  said.right.reset();
  inherited.reset();
  EXPECT(started.ok());
  if (!started.ok()) return;
  // A reader that is slower than the guest, and takes something all the time.
  std::atomic<uint64_t> heardBytes = 0;
  std::thread reader([&] {
    char bytes[8192];
    for (long size; (size = read(said.left.get(), bytes, sizeof bytes)) > 0;) {
      heardBytes += static_cast<uint64_t>(size);
      struct pollfd nothing = {-1, 0, 0};
      poll(&nothing, 1, 1);
    }
  });
  while (heardBytes < 1 << 20) std::this_thread::yield();
  EXPECT_TEXT(started.value().ask("stop", kAnswerMs), "{\"state\":\"stopped\"}");
  const uint64_t before = heardBytes;
  EXPECT(started.value().end() == kStopped);
  { const Monitor gone = started.take(); }
  reader.join();
  // What was in its queue and in the pipe then, and what it added until its processor was ended.
  EXPECT_THAT(heardBytes - before < 4 << 20, std::to_string(heardBytes - before));
}

TEST(hostile_guest_that_never_stops_is_killed) {
  if (!haveKvm()) return;
  for (const std::string& guest : {IMAGE(guestIsDeaf), IMAGE(guestSpins), IMAGE(guestStorms), IMAGE(guestFloods)}) {
    auto started = Monitor::start(guest, kTwoDevices);
    EXPECT(started.ok());
    if (!started.ok()) return;
    EXPECT_TEXT(started.value().ask("state"), "{\"state\":\"running\"}");
    kill(started.value().pid(), SIGKILL);
    EXPECT(started.value().end() == -SIGKILL);
  }
}

TEST(hostile_accesses_of_every_size_to_every_register_are_answered) {
  if (!haveKvm()) return;
  endsAlone(IMAGE(guestReachesEverywhere), kPoweredOff, "registers");
}

TEST(hostile_strings_to_every_port_are_answered) {
  if (!haveKvm()) return;
  endsAlone(IMAGE(guestSendsStrings), kPoweredOff, "ports");
}

TEST(hostile_guest_that_overwrites_what_it_was_started_with_is_alone_with_it) {
  if (!haveKvm()) return;
  endsAlone(IMAGE(guestOverwritesWhatItWasGiven), kPoweredOff, "boot parameters");
}

TEST(hostile_kernels_that_are_truncated_are_refused) {
  if (!haveKvm()) return;
  const std::string whole = IMAGE(guestResets);
  for (size_t size = 0; size < whole.size(); size += size < 64 ? 21 : 13) {
    auto started = Monitor::start(std::string_view(whole).substr(0, size), kSmall);
    EXPECT(started.ok());
    if (!started.ok()) return;
    const int ended = started.value().end();
    const std::string said = started.value().said();
    EXPECT_THAT(ended == kCannotStart && said.starts_with("{\"error\":\"") && said.find("\"about\":\"") < said.size(),
                std::to_string(size) + said);
  }
}

TEST(hostile_kernels_with_a_flipped_bit_harm_themselves_only) {
  if (!haveKvm()) return;
  auto neighbour = Monitor::start(IMAGE(guestTicks), kSmall);
  EXPECT(neighbour.ok());
  const std::string whole = IMAGE(guestResets);
  int refused = 0;
  // Every field of both headers, and the first instructions.
  for (size_t place = 0; place < whole.size(); place += 3) {
    std::string flipped = whole;
    flipped[place] = static_cast<char>(flipped[place] ^ (1 << place % 8));
    auto started = Monitor::start(flipped, kSmall);
    EXPECT(started.ok());
    if (!started.ok()) return;
    // Whatever is left of it runs, and may do so for ever.
    const std::string state = started.value().ask("state");
    if (state.starts_with("{")) (void)started.value().ask("stop");
    const int ended = started.value().end();
    const std::string said = started.value().said();
    EXPECT_THAT(ended == kCannotStart || ended >= kReset - 2, std::to_string(place) + said);
    EXPECT_THAT(said.starts_with(ended == kCannotStart ? "{\"error\":" : "{\"outcome\":"), said);
    refused += ended == kCannotStart ? 1 : 0;
  }
  EXPECT(refused > 5);
  EXPECT(neighbour.ok() && neighbour.value().counts("portWrites"));
}

TEST(hostile_disks_that_are_no_disks_are_refused_and_their_content_is_nobody_s) {
  if (!haveKvm()) return;
  for (const char* disk : {"block,file=/dev/null", "block,file=/proc/self/status", "block,file=/nowhere"}) {
    auto started = Monitor::start(IMAGE(guestResets), {"--memory-mib", "2", "--device", disk});
    EXPECT(started.ok());
    if (!started.ok()) return;
    const int ended = started.value().end();
    EXPECT_THAT(ended == kCannotStart && started.value().said().starts_with("{\"error\":\""), disk);
  }
}

TEST(hostile_initramfs_that_is_empty_or_too_large_is_refused) {
  if (!haveKvm()) return;
  for (const char* initramfs : {"/dev/null", "/proc/self/exe"}) {
    auto started = Monitor::start(IMAGE(guestResets), {"--memory-mib", "2", "--initramfs", initramfs});
    EXPECT(started.ok());
    if (!started.ok()) return;
    const int ended = started.value().end();
    EXPECT_THAT(ended == kCannotStart && started.value().said().starts_with("{\"error\":\""), initramfs);
  }
}

}  // namespace bulkhead::vm
