#include "supervisor.h"

#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "jail.h"
#include "report.h"

namespace bulkhead::unpack {
namespace {

union Control {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

class RemoteMarker final : public OpaqueMarker {
 public:
  explicit RemoteMarker(Fd socket) : socket_(std::move(socket)) {}

  Status mark(const Fd& directory) override {
    char byte = 0;
    iovec data{&byte, 1};
    Control control{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = directory.get();
    std::memcpy(CMSG_DATA(header), &number, sizeof number);
    if (::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) != 1) return host_failure("sendmsg");
    int error = 0;
    if (::recv(socket_.get(), &error, sizeof error, 0) != sizeof error) return host_failure("recv", EPIPE);
    return error == 0 ? Status{} : host_failure("set trusted.overlay.opaque", error);
  }

 private:
  Fd socket_;
};

// False when the child has closed its end.
bool serve_one(const Fd& socket) {
  char byte = 0;
  iovec data{&byte, 1};
  Control control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  const ssize_t size = ::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC);
  if (size < 0 && errno == EINTR) return true;
  if (size <= 0) return false;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  int error = EBADMSG;
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int))) {
    int number = -1;
    std::memcpy(&number, CMSG_DATA(header), sizeof number);
    const Fd directory(number);
    error = ::fsetxattr(directory.get(), "trusted.overlay.opaque", "y", 1, 0) == 0 ? 0 : errno;
  }
  return ::send(socket.get(), &error, sizeof error, MSG_NOSIGNAL) == sizeof error;
}

// libarchive calls exit(3) when it is out of memory; this process ends by _exit(2) in every other case. No allocation
// may be tried here.
void report_library_exit() {
  constexpr std::string_view kLine =
      "{\"error\":\"crashed\",\"path\":\"\",\"detail\":\"the layer needs more memory than it may\",\"errno\":12}\n";
  const ssize_t written = ::write(STDOUT_FILENO, kLine.data(), kLine.size());
  ::_exit(written < 0 ? 3 : 1);
}

int run_child(Fd socket, const std::function<int(OpaqueMarker&)>& work) {
  // A parent that died before this call leaves a child that ends with its input.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return 3;
  if (std::atexit(report_library_exit) != 0) return 3;
  RemoteMarker marker(std::move(socket));
  return work(marker);
}

int fail(const Failure& failure) {
  print(failure_line(failure));
  return exit_code(failure);
}

}  // namespace

int run_supervised(const std::function<int(OpaqueMarker&)>& work) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return fail(host_failure("socketpair"));
  Fd ours(pair[0]);
  Fd theirs(pair[1]);
  const pid_t child = ::fork();
  if (child < 0) return fail(host_failure("fork"));
  if (child == 0) {
    ours = Fd();
    ::_exit(run_child(std::move(theirs), work));
  }
  theirs = Fd();
  if (Status kept = keep_capabilities({CAP_SYS_ADMIN}); !kept.ok()) {
    ::kill(child, SIGKILL);
    return fail(kept.failure());
  }
  while (serve_one(ours)) continue;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return fail(host_failure("waitpid"));
  }
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  // Out of its memory or a broken parser: this layer made it happen. SIGKILL comes from outside, as from the host's
  // own lack of memory.
  Failure crash = layer_failure("crashed", "the unpacker was ended by signal " + std::to_string(WTERMSIG(status)));
  if (WTERMSIG(status) == SIGKILL) crash.fault = Fault::kHost;
  return fail(crash);
}

void print(const std::string& line) {
  std::size_t done = 0;
  while (done < line.size()) {
    const ssize_t size = ::write(STDOUT_FILENO, line.data() + done, line.size() - done);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;
    done += static_cast<std::size_t>(size);
  }
}

}  // namespace bulkhead::unpack
