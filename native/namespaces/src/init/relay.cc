// Copies between an exec's terminal and its caller's stream, both ways, without blocking on either.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "init/exec.h"
#include "init/privileges.h"
#include "init/report.h"
#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

constexpr size_t kBufferBytes = 16384;
// A process that outlives its caller's SIGHUP this long is killed.
constexpr int64_t kHangUpGraceMs = 5'000;
// How long the last output may wait for a caller that does not read.
constexpr int64_t kFlushGraceMs = 5'000;

/** One direction. */
class Channel {
 public:
  explicit Channel(char* buffer) : buffer_(buffer) {}

  bool wantsInput() const { return open_ && begin_ == end_; }
  bool hasOutput() const { return begin_ < end_; }
  bool open() const { return open_; }

  void fill(int from) {
    const ssize_t count = read(from, buffer_, kBufferBytes);
    if (count > 0) {
      begin_ = 0;
      end_ = static_cast<size_t>(count);
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
      // A terminal answers EIO once nobody has its other side open.
      open_ = false;
    }
  }
  void drain(int to) {
    const ssize_t count = write(to, buffer_ + begin_, end_ - begin_);
    if (count > 0) {
      begin_ += static_cast<size_t>(count);
    } else if (errno != EAGAIN && errno != EINTR) {
      open_ = false;
      begin_ = end_ = 0;
    }
  }
  void put(char byte) {
    buffer_[0] = byte;
    begin_ = 0;
    end_ = 1;
  }

 private:
  char* buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool open_ = true;
};

char toTerminalBuffer[kBufferBytes];
char toCallerBuffer[kBufferBytes];

int64_t nowMs() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

class Relay {
 public:
  explicit Relay(Relayed* relayed) : relayed_(relayed), terminal_(relayed->master.valid()) {}

  void run() {
    if (terminal_) {
      fcntl(relayed_->stream.get(), F_SETFL, O_NONBLOCK);
      fcntl(relayed_->master.get(), F_SETFL, O_NONBLOCK);
    }
    while (step()) {
    }
  }

 private:
  enum Slot { kProcess, kControl, kStream, kMaster, kSlots };

  bool step() {
    struct pollfd slots[kSlots] = {
        {ended_ ? -1 : relayed_->process.get(), POLLIN, 0},
        {listening_ ? relayed_->control.get() : -1, POLLIN, 0},
        {-1, 0, 0},
        {-1, 0, 0},
    };
    if (terminal_) {
      want(&slots[kStream], relayed_->stream.get(), toTerminal_.wantsInput() && !ended_, toCaller_.hasOutput());
      want(&slots[kMaster], relayed_->master.get(), toCaller_.wantsInput(), toTerminal_.hasOutput() && !ended_);
      if (ended_ && !toCaller_.hasOutput() && !moreFromTerminal()) return false;
    } else if (ended_) {
      return false;
    }
    const int timeoutMs = deadlineMs_ == 0 ? -1 : static_cast<int>(deadlineMs_ > nowMs() ? deadlineMs_ - nowMs() : 0);
    const int ready = poll(slots, kSlots, timeoutMs);
    if (ready == 0 && !expire()) return false;
    if (slots[kProcess].revents != 0) end();
    if (slots[kControl].revents != 0) control();
    if (slots[kStream].revents != 0) stream(slots[kStream].revents);
    if (slots[kMaster].revents != 0) master(slots[kMaster].revents);
    return true;
  }

  /** Other processes of the session may keep the terminal open; what they write after this belongs to nobody. */
  bool moreFromTerminal() {
    struct pollfd slot = {relayed_->master.get(), POLLIN, 0};
    return toCaller_.open() && poll(&slot, 1, 0) > 0 && (slot.revents & POLLIN) != 0;
  }

  static void want(struct pollfd* slot, int fd, bool in, bool out) {
    slot->events = static_cast<short>((in ? POLLIN : 0) | (out ? POLLOUT : 0));
    // An unwanted descriptor is left out: it would report its hang-up for ever.
    slot->fd = slot->events == 0 ? -1 : fd;
  }

  /** False when waiting is over. */
  bool expire() {
    if (ended_) return false;
    (void)sys::signalPid(relayed_->process.get(), SIGKILL).ok();
    deadlineMs_ = 0;
    return true;
  }

  void end() {
    ended_ = true;
    deadlineMs_ = nowMs() + kFlushGraceMs;
  }

  void control() {
    ControlMessage message;
    Result<sys::Received> received = sys::receiveMessage(relayed_->control.get(), &message, sizeof message);
    if (received.ok() && received.value().size == sizeof message) {
      const struct winsize size = {message.rows, message.columns, 0, 0};
      if (terminal_) ioctl(relayed_->master.get(), TIOCSWINSZ, &size);
      return;
    }
    if (received.ok() && received.value().size != 0) return;
    listening_ = false;
    if (ended_) return;
    (void)sys::signalPid(relayed_->process.get(), SIGHUP).ok();
    deadlineMs_ = nowMs() + kHangUpGraceMs;
  }

  void stream(short events) {
    if ((events & POLLOUT) != 0) toCaller_.drain(relayed_->stream.get());
    if ((events & (POLLIN | POLLHUP)) != 0 && toTerminal_.wantsInput()) {
      toTerminal_.fill(relayed_->stream.get());
      // The end of the caller's input is what Ctrl-D says to a terminal.
      if (!toTerminal_.open()) toTerminal_.put(4);
    }
    if ((events & POLLERR) != 0) toCaller_.drain(relayed_->stream.get());
  }

  void master(short events) {
    if ((events & POLLOUT) != 0) toTerminal_.drain(relayed_->master.get());
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0 && toCaller_.wantsInput()) toCaller_.fill(relayed_->master.get());
  }

  Relayed* relayed_;
  bool terminal_;
  bool ended_ = false;
  bool listening_ = true;
  int64_t deadlineMs_ = 0;
  Channel toTerminal_{toTerminalBuffer};
  Channel toCaller_{toCallerBuffer};
};

}  // namespace

void relay(Relayed* relayed) {
  Relay(relayed).run();
}

}  // namespace bulkhead::init
