#include "init/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

#include "init/report.h"
#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

struct Terminal {
  Fd master;
  Fd peer;
};

Result<Terminal> openTerminal(uint16_t rows, uint16_t columns) {
  constexpr int kFlags = O_RDWR | O_NOCTTY | O_NONBLOCK;
  Terminal terminal;
  terminal.master = TRY(sys::openAt2(AT_FDCWD, "/dev/pts/ptmx", kFlags, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS));
  const struct stat status = TRY(sys::statusOf(terminal.master.get()));
  // The image may have put anything at this path; only devpts' own multiplexer will do (CVE-2025-52565).
  if (TRY(sys::filesystemType(terminal.master.get())) != kernel::kDevptsMagic || !S_ISCHR(status.st_mode) ||
      status.st_rdev != makedev(5, 2)) {
    return failure("openat2", ENODEV, "/dev/pts/ptmx");
  }
  const int unlocked = 0;
  if (ioctl(terminal.master.get(), TIOCSPTLCK, &unlocked) < 0) return failure("ioctl TIOCSPTLCK", errno);
  // By descriptor: the path of the peer may be raced from inside.
  const int peer = ioctl(terminal.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (peer < 0) return failure("ioctl TIOCGPTPEER", errno);
  terminal.peer = Fd(peer);
  if (rows != 0 || columns != 0) {
    const struct winsize size = {rows, columns, 0, 0};
    if (ioctl(terminal.master.get(), TIOCSWINSZ, &size) < 0) return failure("ioctl TIOCSWINSZ", errno);
  }
  return terminal;
}

}  // namespace

Status connectTerminal(const plan::Process& process, const Identity& identity, int socket) {
  setsid();
  Terminal terminal = TRY(openTerminal(process.rows, process.columns));
  if (ioctl(terminal.peer.get(), TIOCSCTTY, 0) < 0) return failure("ioctl TIOCSCTTY", errno);
  const char kind = static_cast<char>(ChildMessage::terminal);
  const int master = terminal.master.get();
  TRY(sys::sendMessage(socket, &kind, 1, &master, 1));
  for (int fd = 0; fd < 3; ++fd) {
    if (dup2(terminal.peer.get(), fd) < 0) return failure("dup2", errno);
  }
  if (fchown(0, identity.uid, static_cast<gid_t>(-1)) < 0) return failure("fchown", errno, "terminal");
  return Done{};
}

Status showConsole() {
  constexpr const char* kPlace = "/dev/console";
  Result<Fd> made = sys::openAt(AT_FDCWD, kPlace, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!made.ok() && made.error().err != EEXIST) return made.error();
  // The image may have put a link there, or anything else; a mount goes on what is found without following one.
  Fd place = TRY(sys::openAt(AT_FDCWD, kPlace, O_PATH | O_NOFOLLOW));
  const struct stat status = TRY(sys::statusOf(place.get()));
  if (S_ISLNK(status.st_mode) || S_ISDIR(status.st_mode)) return failure("openat", EINVAL, kPlace);
  Fd tree = TRY(sys::openTree(STDIN_FILENO, "", OPEN_TREE_CLONE | AT_EMPTY_PATH));
  return sys::moveMount(tree.get(), place.get());
}

}  // namespace bulkhead::init
