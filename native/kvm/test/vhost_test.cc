// vhost-user: a device whose queues another process serves, which may say and do whatever it likes.
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <thread>

#include "driver.h"
#include "runner.h"
#include "sys/syscalls.h"
#include "vhost/shared_files.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kFeatures = uint64_t{1} << 32 | uint64_t{1} << 30 | uint64_t{1} << 29;

struct Asked {
  VhostHeader header;
  char payload[sizeof(VhostMemoryTable)];
  int fds[2];
  size_t fdCount;
};

/** A back end in a thread: it answers as it should, unless `answer` does (true). */
class BackEnd {
 public:
  using Answer = std::function<bool(const BackEnd& self, const Asked& asked)>;

  explicit BackEnd(Answer answer = {}) : answer_(std::move(answer)) {
    sys::Pair pair = sys::socketPair(SOCK_STREAM).take();
    front = std::move(pair.left);
    own_ = std::move(pair.right);
    thread_ = std::thread([this] { serve(); });
  }
  ~BackEnd() {
    shutdown(own_.get(), SHUT_RDWR);
    thread_.join();
    for (const int fd : kicks) close(fd);
    for (const int fd : calls) close(fd);
  }

  void say(const void* bytes, size_t size) const { (void)!::send(own_.get(), bytes, size, MSG_NOSIGNAL); }
  void reply(VhostRequest request, const void* payload, uint32_t size, uint32_t flags = 5) const {
    const VhostHeader header = {request, flags, size};
    say(&header, sizeof header);
    say(payload, size);
  }
  void number(VhostRequest request, uint64_t value) const { reply(request, &value, sizeof value); }
  void hangUp() const { shutdown(own_.get(), SHUT_RDWR); }

  Fd front;
  std::vector<int> kicks;
  std::vector<int> calls;
  std::vector<VhostRingAddresses> addresses;
  VhostMemoryTable table = {};
  std::vector<uint32_t> stopped;

 private:
  bool take(Asked* asked) const {
    *asked = {};
    auto got = sys::receiveMessage(own_.get(), &asked->header, sizeof asked->header, asked->fds, 2);
    if (!got.ok() || got.value().size != sizeof asked->header) return false;
    asked->fdCount = got.value().fdCount;
    const uint32_t size = asked->header.sizeBytes;
    return size <= sizeof asked->payload &&
           (size == 0 || recv(own_.get(), asked->payload, size, MSG_WAITALL) == static_cast<ssize_t>(size));
  }
  void note(const Asked& asked) {
    const auto& [header, payload, fds, fdCount] = asked;
    if (header.request == VhostRequest::setRingKick && fdCount == 1) kicks.push_back(fds[0]);
    if (header.request == VhostRequest::setRingCall && fdCount == 1) calls.push_back(fds[0]);
    if (header.request == VhostRequest::setMemoryTable) {
      memcpy(&table, payload, sizeof table);
      for (size_t index = 0; index < fdCount; ++index) close(fds[index]);
    }
    if (header.request == VhostRequest::setRingAddresses) {
      memcpy(&addresses.emplace_back(), payload, sizeof(VhostRingAddresses));
    }
  }
  void serve() {
    for (Asked asked; take(&asked);) {
      note(asked);
      if (answer_ && answer_(*this, asked)) continue;
      const VhostRequest request = asked.header.request;
      VhostRingState state;
      memcpy(&state, asked.payload, sizeof state);
      if (request == VhostRequest::getFeatures) {
        number(request, kFeatures);
      } else if (request == VhostRequest::getProtocolFeatures) {
        number(request, kVhostReplyAck);
      } else if (request == VhostRequest::getRingBase) {
        stopped.push_back(state.index);
        reply(request, &state, sizeof state);
      } else if ((asked.header.flags & kVhostNeedsReply) != 0) {
        number(request, 0);
      }
    }
  }

  Answer answer_;
  Fd own_;
  std::thread thread_;
};

std::unique_ptr<Device> filesOf(BackEnd* end) {
  return SharedFiles::create(std::move(end->front), "share0").take();
}

uint64_t eventOf(int fd) {
  uint64_t count = 0;
  struct pollfd ready = {fd, POLLIN, 0};
  return poll(&ready, 1, 2000) == 1 && read(fd, &count, sizeof count) == sizeof count ? count : 0;
}

void signalTo(int fd) {
  const uint64_t one = 1;
  (void)!write(fd, &one, sizeof one);
}

}  // namespace

TEST(a_back_end_is_given_the_memory_the_rings_and_both_bells) {
  BackEnd end;
  Driver driver(filesOf(&end));
  driver.start(Driver::kEventIndex);
  EXPECT(!driver.needsReset() && driver.reg(0x08) == 26);
  EXPECT(end.table.count == 1 && end.table.regions[0].sizeBytes == 4 * layout::kMiB);
  EXPECT(end.table.regions[0].address == 0 && end.table.regions[0].fileOffset == 0);
  EXPECT(end.kicks.size() == 2 && end.calls.size() == 2 && end.addresses.size() == 2);
  for (uint32_t queue = 0; queue < 2; ++queue) {
    const uint64_t host = end.table.regions[0].host;
    EXPECT(end.addresses[queue].index == queue);
    EXPECT(end.addresses[queue].descriptors == host + Driver::descriptors(queue));
    EXPECT(end.addresses[queue].available == host + Driver::available(queue));
    EXPECT(end.addresses[queue].used == host + Driver::used(queue));
    driver.ring(queue);
    EXPECT(eventOf(end.kicks[queue]) > 0);
    driver.interrupted();
    signalTo(end.calls[queue]);
    EXPECT(driver.wait(2000) && driver.interrupted());
  }
  // A driver that starts anew has the queues for itself, and the back end is told of them once more.
  driver.set(0x70, 0);
  EXPECT(end.stopped == (std::vector<uint32_t>{0, 1}));
  driver.start();
  EXPECT(!driver.needsReset() && end.kicks.size() == 4);
}

TEST(a_guest_mounts_by_a_tag_that_is_as_long_as_one_may_be) {
  const std::string tag(36, 't');
  BackEnd end;
  Driver driver(SharedFiles::create(std::move(end.front), tag).take());
  char read[40];
  for (uint32_t at = 0; at < sizeof read; at += 4) {
    const uint32_t word = driver.reg(0x100 + at);
    memcpy(read + at, &word, sizeof word);
  }
  EXPECT(std::string_view(read, 36) == tag && read[36] == 1);
  for (const std::string& wrong : {std::string(37, 't'), std::string()}) {
    BackEnd other;
    EXPECT(!SharedFiles::create(std::move(other.front), wrong).ok());
  }
}

TEST(a_back_end_that_goes_away_or_speaks_unasked_leaves_a_device_that_says_so) {
  for (const bool speaks : {false, true}) {
    BackEnd end;
    Driver driver(filesOf(&end));
    driver.start();
    EXPECT(!driver.needsReset());
    if (speaks) {
      end.number(VhostRequest::getFeatures, 1);
    } else {
      end.hangUp();
    }
    EXPECT(driver.wait(2000) && driver.needsReset());
  }
}

TEST(an_answer_that_is_none_is_refused_before_the_machine_is) {
  const std::pair<const char*, BackEnd::Answer> lies[] = {
      {"another request",
       [](const BackEnd& self, const Asked&) { return self.number(VhostRequest::setOwner, kFeatures), true; }},
      {"too long",
       [](const BackEnd& self, const Asked& asked) {
         const char bytes[64] = {};
         return self.reply(asked.header.request, bytes, sizeof bytes), true;
       }},
      {"too short",
       [](const BackEnd& self, const Asked& asked) { return self.reply(asked.header.request, "", 0), true; }},
      {"four gigabytes",
       [](const BackEnd& self, const Asked& asked) {
         const VhostHeader header = {asked.header.request, 5, 0xffffffff};
         return self.say(&header, sizeof header), true;
       }},
      {"no answer's flags",
       [](const BackEnd& self, const Asked& asked) {
         return self.reply(asked.header.request, &kFeatures, sizeof kFeatures, 1), true;
       }},
      {"another version",
       [](const BackEnd& self, const Asked& asked) {
         return self.reply(asked.header.request, &kFeatures, sizeof kFeatures, 6), true;
       }},
      {"cut", [](const BackEnd& self, const Asked&) { return self.say("abc", 3), self.hangUp(), true; }},
      {"no features",
       [](const BackEnd& self, const Asked& asked) { return self.number(asked.header.request, 0), true; }},
      {"nothing but an end", [](const BackEnd& self, const Asked&) { return self.hangUp(), true; }},
  };
  for (const auto& [name, lie] : lies) {
    BackEnd end([&](const BackEnd& self, const Asked& asked) {
      return asked.header.request == VhostRequest::getFeatures && lie(self, asked);
    });
    EXPECT_THAT(!SharedFiles::create(std::move(end.front), "share0").ok(), name);
  }
}

TEST(a_back_end_that_refuses_a_step_leaves_a_device_that_says_so) {
  for (const VhostRequest step : {VhostRequest::setFeatures, VhostRequest::setMemoryTable, VhostRequest::setRingSize,
                                  VhostRequest::setRingBase, VhostRequest::setRingAddresses, VhostRequest::setRingCall,
                                  VhostRequest::setRingKick, VhostRequest::setRingEnabled}) {
    BackEnd end([&](const BackEnd& self, const Asked& asked) {
      return asked.header.request == step && (self.number(step, 1), true);
    });
    Driver driver(filesOf(&end));
    driver.start();
    EXPECT(driver.needsReset());
  }
}

TEST(a_back_end_that_rings_for_a_queue_that_it_refused_is_not_heard) {
  BackEnd end([](const BackEnd& self, const Asked& asked) {
    if (asked.header.request == VhostRequest::setRingCall) signalTo(self.calls.back());
    return asked.header.request == VhostRequest::setRingKick && (self.number(asked.header.request, 1), true);
  });
  Driver driver(filesOf(&end));
  driver.start();
  EXPECT(driver.needsReset() && end.calls.size() == 1);
  driver.set(0x70, 0);
  // Nobody would take it, and it would be told for ever; one turn serves what rang before.
  (void)driver.wait(0);
  EXPECT(!driver.wait(0));
}

TEST(a_back_end_that_says_nothing_or_too_little_is_waited_for_only_so_long) {
  for (const size_t said : {size_t{0}, size_t{1}, sizeof(VhostHeader)}) {
    BackEnd end([&](const BackEnd& self, const Asked& asked) {
      const VhostHeader header = {asked.header.request, 5, sizeof kFeatures};
      return asked.header.request == VhostRequest::getFeatures && (self.say(&header, said), true);
    });
    EXPECT(!SharedFiles::create(std::move(end.front), "share0", 200).ok());
  }
  // Of the queues it is not asked again, and its guest's other devices go on.
  BackEnd end([](const BackEnd&, const Asked& asked) { return asked.header.request == VhostRequest::getRingBase; });
  Driver driver(SharedFiles::create(std::move(end.front), "share0", 200).take());
  driver.start();
  EXPECT(!driver.needsReset());
  driver.set(0x70, 0);
  EXPECT(driver.status() == 0);
}

TEST(a_snapshot_of_what_another_process_holds_is_none) {
  BackEnd end;
  const auto device = filesOf(&end);
  EXPECT(device->servedElsewhere());
}

}  // namespace bulkhead::vm
