// A machine that is asked and told while it runs.
#include "control/control.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "boot/tiny_image.h"
#include "frame_scene.h"
#include "memory/layout.h"
#include "runner.h"
#include "sys/syscalls.h"
#include "virtio/entropy.h"
#include "vmm/named_file.h"

extern "C" const char guestCounts[], guestCountsEnd[];

namespace bulkhead::vm {
namespace {

constexpr int kPatienceMs = 10'000;

/** A machine that counts in its memory until it is stopped, and the other end of its control. */
struct Scene {
  std::unique_ptr<Machine> machine;
  std::unique_ptr<Control> control;
  Fd asker;
  std::thread thread;
  Outcome outcome = Outcome::running;

  void run() {
    thread = std::thread([this] {
      auto ran = machine->run();
      EXPECT(ran.ok());
      if (ran.ok()) outcome = ran.value();
    });
  }
  ~Scene() {
    if (!thread.joinable()) return;
    machine->stop();
    thread.join();
  }

  std::string hear() const {
    struct pollfd ready = {asker.get(), POLLIN, 0};
    if (poll(&ready, 1, kPatienceMs) != 1) return "silence";
    char text[8192];
    const ssize_t size = recv(asker.get(), text, sizeof text, 0);
    return size <= 0 ? "the end" : std::string(text, static_cast<size_t>(size));
  }
  std::string ask(std::string_view request) const {
    if (send(asker.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "nobody";
    return hear();
  }
  uint64_t counter() const {
    return __atomic_load_n(reinterpret_cast<const uint64_t*>(machine->memory().at(2 * layout::kMiB - 8, 8)),
                           __ATOMIC_ACQUIRE);
  }
  bool counts() const {
    const uint64_t before = counter();
    for (int round = 0; round < kPatienceMs; ++round) {
      if (counter() != before) return true;
      struct pollfd nothing = {-1, 0, 0};
      poll(&nothing, 1, 1);
    }
    return false;
  }
};

Result<std::unique_ptr<Scene>> makeScene(Fd listener = Fd()) {
  auto scene = std::make_unique<Scene>();
  const std::string image = tinyImage({guestCounts, guestCountsEnd});
  const BytesSource source(image);
  MachineOptions options;
  options.memory.sizeBytes = 2 * layout::kMiB;
  MachineFiles files;
  files.kvm = TRY(sys::openAt(AT_FDCWD, "/dev/kvm", O_RDWR));
  files.kernel = &source;
  files.serialOutput = TRY(sys::openAt(AT_FDCWD, "/dev/null", O_WRONLY));
  files.devices.push_back(std::make_unique<Entropy>());
  scene->machine = TRY(Machine::create(options, std::move(files)));
  if (listener.valid()) {
    scene->control = TRY(Control::attach(std::move(listener), scene->machine.get(), "null"));
    return scene;
  }
  sys::Pair pair = TRY(sys::socketPair(SOCK_SEQPACKET));
  scene->asker = std::move(pair.left);
  scene->control = TRY(Control::attach(std::move(pair.right), scene->machine.get(), "null"));
  return scene;
}

bool haveKvm() {
  return sys::openAt(AT_FDCWD, "/dev/kvm", O_RDWR).ok();
}

}  // namespace

TEST(a_machine_is_paused_resumed_and_stopped_by_its_control) {
  if (!haveKvm()) return;
  auto made = makeScene();
  EXPECT(made.ok());
  if (!made.ok()) return;
  Scene& scene = *made.value();
  scene.run();
  EXPECT_TEXT(scene.ask("state"), "{\"state\":\"running\"}");
  EXPECT(scene.counts());
  EXPECT_TEXT(scene.ask("pause"), "{\"state\":\"paused\"}");
  EXPECT_TEXT(scene.ask("pause"), "{\"state\":\"paused\"}");
  const uint64_t stood = scene.counter();
  EXPECT_TEXT(scene.ask("state"), "{\"state\":\"paused\"}");
  EXPECT(scene.counter() == stood);
  EXPECT_TEXT(scene.ask("resume"), "{\"state\":\"running\"}");
  EXPECT(scene.counts());
  EXPECT_TEXT(scene.ask("pause"), "{\"state\":\"paused\"}");
  EXPECT_TEXT(scene.ask("stop"), "{\"state\":\"stopped\"}");
  scene.thread.join();
  EXPECT(scene.outcome == Outcome::stopped);
}

TEST(a_machine_is_taken_through_the_pipe_that_comes_with_the_request) {
  if (!haveKvm()) return;
  auto made = makeScene();
  EXPECT(made.ok());
  if (!made.ok()) return;
  Scene& scene = *made.value();
  scene.run();
  EXPECT(scene.counts());
  EXPECT_TEXT(scene.ask("save"), "{\"error\":\"a snapshot wants a pipe that it goes to\"}");
  for (const bool paused : {false, true}) {
    const SnapshotFiles files = {sys::memoryFile("state", 0).take(), sys::memoryFile("memory", 0).take()};
    FramePipe pipe = framePipe();
    const int passed = pipe.writing.get();
    EXPECT(sys::sendMessage(scene.asker.get(), "save", 4, &passed, 1).ok());
    pipe.writing.reset();
    EXPECT(FrameReceiver(std::move(pipe.reading), files, 2 * layout::kMiB).receive().ok());
    const std::string said = scene.hear();
    EXPECT_THAT(said.starts_with("{\"stateBytes\":") && said.find("\"memoryBytes\":2097152,") != std::string::npos,
                said);
    EXPECT(lseek(files.memory.get(), 0, SEEK_END) == 2097152 + 4096);
    EXPECT_TEXT(scene.ask("state"), paused ? "{\"state\":\"paused\"}" : "{\"state\":\"running\"}");
    if (paused) break;
    EXPECT(scene.counts());
    EXPECT_TEXT(scene.ask("pause"), "{\"state\":\"paused\"}");
  }
  // Whoever asked is gone; the machine is as it was.
  FramePipe pipe = framePipe();
  const int passed = pipe.writing.get();
  pipe.reading.reset();
  EXPECT(sys::sendMessage(scene.asker.get(), "save", 4, &passed, 1).ok());
  const std::string refused = scene.hear();
  EXPECT_THAT(refused.starts_with("{\"error\":\"snapshot\",\"errno\":\"EPIPE\""), refused);
  EXPECT_TEXT(scene.ask("resume"), "{\"state\":\"running\"}");
  EXPECT(scene.counts());
}

TEST(a_control_shows_every_channel_of_the_machine) {
  if (!haveKvm()) return;
  auto made = makeScene();
  EXPECT(made.ok());
  if (!made.ok()) return;
  Scene& scene = *made.value();
  scene.run();
  EXPECT(scene.counts());
  const std::string view = scene.ask("view");
  for (const char* part :
       {"\"exits\":{\"portReads\":0,\"portWrites\":1,", "{\"first\":1016,\"count\":8,\"uses\":0}",
        "{\"first\":128,\"count\":1,\"uses\":1}", "\"hypercalls\":", "\"calls\":null}",
        "{\"kind\":\"entropy\",\"address\":3221229568,\"sizeBytes\":4096,\"uses\":0,\"queues\":1,\"doorbells\":0,"}) {
    if (view.find(part) == std::string::npos) fprintf(stderr, "%s\nhas no %s\n", view.c_str(), part);
    EXPECT(view.find(part) != std::string::npos);
  }
}

TEST(a_control_outlives_whatever_it_is_asked) {
  if (!haveKvm()) return;
  auto made = makeScene();
  EXPECT(made.ok());
  if (!made.ok()) return;
  Scene& scene = *made.value();
  scene.run();
  const std::string longest(Request::kTextBytes, 'x');
  const std::string tooLong(200'000, 'x');
  const std::string zeros(8, '\0');
  for (const std::string& request : {std::string("pauses"), std::string("state "), longest, zeros}) {
    EXPECT(scene.ask(request).starts_with("{\"error\":\"unknown request"));
  }
  EXPECT_TEXT(scene.ask(longest + "x"), "{\"error\":\"a request of more than 32 bytes, or more than one descriptor\"}");
  EXPECT_TEXT(scene.ask(tooLong), "{\"error\":\"a request of more than 32 bytes, or more than one descriptor\"}");
  // Nobody reads: answers are lost, and nothing waits for it.
  for (int round = 0; round < 10'000; ++round) {
    if (send(scene.asker.get(), "view", 4, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) break;
  }
  EXPECT(scene.counts());
  scene.asker.reset();
  EXPECT(scene.counts());
  scene.machine->stop();
  scene.thread.join();
  EXPECT(scene.outcome == Outcome::stopped);
}

TEST(a_control_that_listens_answers_whoever_comes_and_comes_back) {
  if (!haveKvm()) return;
  char directory[] = "/tmp/kvm-control-XXXXXX";
  EXPECT(mkdtemp(directory) != nullptr);
  const std::string path = std::string(directory) + "/control";
  auto listener = listenAt(path, SOCK_SEQPACKET);
  // A second machine does not take the place of the first.
  EXPECT(listener.ok() && listenAt(path, SOCK_SEQPACKET).error().err == EADDRINUSE);
  auto made = makeScene(listener.take());
  EXPECT(made.ok());
  if (!made.ok()) return;
  Scene& scene = *made.value();
  scene.run();
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  const auto come = [&] {
    Fd asker(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    EXPECT(connect(asker.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    return asker;
  };
  for (uint64_t round = 0; round < 2 * Control::kAskers; ++round) {
    scene.asker = come();
    EXPECT_TEXT(scene.ask("state"), "{\"state\":\"running\"}");
  }
  scene.asker.reset();
  std::vector<Fd> askers;
  for (uint64_t count = 0; count < Control::kAskers; ++count) {
    askers.push_back(come());
    std::swap(scene.asker, askers.back());
    EXPECT_TEXT(scene.ask("state"), "{\"state\":\"running\"}");
    std::swap(scene.asker, askers.back());
  }
  // One too many is hung up on, and the others are still answered.
  scene.asker = come();
  EXPECT_TEXT(scene.hear(), "the end");
  std::swap(scene.asker, askers.front());
  EXPECT_TEXT(scene.ask("stop"), "{\"state\":\"stopped\"}");
  unlink(path.c_str());
  rmdir(directory);
}

TEST(a_control_is_a_socket_that_keeps_messages_apart) {
  if (!haveKvm()) return;
  auto made = makeScene();
  EXPECT(made.ok());
  if (!made.ok()) return;
  auto stream = sys::socketPair(SOCK_STREAM);
  auto pipe = sys::pipePair();
  EXPECT(stream.ok() && pipe.ok());
  if (!stream.ok() || !pipe.ok()) return;
  EXPECT(!Control::attach(std::move(stream.value().left), made.value()->machine.get(), "null").ok());
  EXPECT(!Control::attach(std::move(pipe.value().left), made.value()->machine.get(), "null").ok());
}

}  // namespace bulkhead::vm
