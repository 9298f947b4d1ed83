#include "oci/foreground.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::oci {
namespace {

// One run has one terminal; what it was like before must survive every way out.
struct termios terminalBefore;

/** Copies what is there; false at the end. */
bool copySome(int from, int to) {
  char buffer[16384];
  const ssize_t count = read(from, buffer, sizeof buffer);
  // A terminal answers EIO once nobody has its other side open.
  if (count <= 0) return count < 0 && (errno == EAGAIN || errno == EINTR);
  return sys::writeAll(to, buffer, static_cast<size_t>(count)).ok();
}

void copySize(int to) {
  struct winsize size;
  if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0) ioctl(to, TIOCSWINSZ, &size);
}

void setBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags >= 0) fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

}  // namespace

bool Foreground::prepare(Session* session) {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) {
    return session->fail("cannot adopt orphans", failure("prctl PR_SET_CHILD_SUBREAPER", errno));
  }
  sigset_t all;
  sigfillset(&all);
  // Faults of this process must stop it, and SIGCHLD says nothing that the pidfd does not.
  for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGCHLD, SIGTTIN, SIGTTOU}) sigdelset(&all, own);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  signals_ = Fd(signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  return signals_.valid() ? true : session->fail("cannot receive signals", failure("signalfd", errno));
}

bool Foreground::makeRaw() {
  if (tcgetattr(STDIN_FILENO, &terminalBefore) < 0) return false;
  struct termios raw = terminalBefore;
  cfmakeraw(&raw);
  raw_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  return raw_;
}

void Foreground::restore() {
  if (raw_) tcsetattr(STDIN_FILENO, TCSANOW, &terminalBefore);
  raw_ = false;
}

Foreground::~Foreground() {
  restore();
}

int Foreground::wait(Session* session, const sys::ProcessRef& process, Fd terminal) {
  Result<Fd> opened = sys::openPid(process.pid);
  if (!opened.ok()) {
    session->fail("cannot wait for the process", opened.error());
    return kFailed;
  }
  const int pidfd = opened.value().get();
  if (terminal.valid()) {
    setBlocking(terminal.get());
    copySize(terminal.get());
    makeRaw();
  }
  bool input = terminal.valid();
  bool output = terminal.valid();
  for (;;) {
    struct pollfd slots[] = {{pidfd, POLLIN, 0},
                             {signals_.get(), POLLIN, 0},
                             {output ? terminal.get() : -1, POLLIN, 0},
                             {input ? STDIN_FILENO : -1, POLLIN, 0}};
    if (sys::retry([&] { return poll(slots, 4, -1); }) < 0) break;
    struct signalfd_siginfo signal;
    while (slots[1].revents != 0 && read(signals_.get(), &signal, sizeof signal) == sizeof signal) {
      const int number = static_cast<int>(signal.ssi_signo);
      if (number == SIGWINCH && terminal.valid()) copySize(terminal.get());
      if (number != SIGWINCH) (void)sys::signalPid(pidfd, number).ok();
    }
    if (slots[2].revents != 0) output = copySome(terminal.get(), STDOUT_FILENO);
    if (slots[3].revents != 0) input = copySome(STDIN_FILENO, terminal.get());
    if (slots[0].revents == 0) continue;
    // What the terminal still holds comes before the end; once its last user is gone it reads as an error.
    struct pollfd rest = {terminal.get(), POLLIN, 0};
    while (output && poll(&rest, 1, 0) > 0) output = copySome(terminal.get(), STDOUT_FILENO);
    break;
  }
  restore();
  Result<sys::Ended> ended = sys::reap(pidfd, true);
  if (!ended.ok()) {
    session->fail("cannot learn the exit status", ended.error());
    return kFailed;
  }
  return ended.value().code == CLD_EXITED ? ended.value().status : 128 + ended.value().status;
}

}  // namespace bulkhead::oci
