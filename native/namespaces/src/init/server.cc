#include "init/server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <string_view>

#include "init/container.h"
#include "init/entry.h"
#include "init/report.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

// The base's descriptors, where a shim has them as well.
constexpr int kBaseFd = 8;
constexpr int kBaseFds = 2;
// Above every number that a shim expects its descriptors at.
constexpr int kFirstFree = 16;
static_assert(kBaseFd > kRelayFd && kBaseFd + kBaseFds <= kFirstFree);

/** Each descriptor at the number where a shim expects it, and nothing else open. */
Status arrange(const int* fds, size_t count) {
  constexpr int kTargets[] = {kReportFd, 0, 1, 2, kRelayFd};
  static_assert(std::size(kTargets) == kForkFdsWithRelay);
  int copies[kForkFdsWithRelay];
  for (size_t index = 0; index < count; ++index) {
    copies[index] = fcntl(fds[index], F_DUPFD_CLOEXEC, kFirstFree);
    if (copies[index] < 0) return failure("fcntl F_DUPFD_CLOEXEC", errno);
  }
  for (size_t index = 0; index < count; ++index) {
    const int flags = kTargets[index] > 2 ? O_CLOEXEC : 0;
    // dup3 leaves the copy as it is when both numbers are the same, which the numbers above rule out.
    if (dup3(copies[index], kTargets[index], flags) < 0) return failure("dup3", errno);
  }
  close(kServerFd);
  const unsigned first = static_cast<unsigned>(count == kForkFdsWithRelay ? kRelayFd : kReportFd) + 1;
  TRY(sys::closeFrom(first, kBaseFd - 1, 0));
  return sys::closeFrom(kBaseFd + kBaseFds, ~0u, 0);
}

int runShim(Mode mode, const int* fds, size_t count, Base base, char* title) {
  memcpy(title, "shim", sizeof "shim");
  (void)sys::processControl("prctl PR_SET_NAME", PR_SET_NAME, reinterpret_cast<unsigned long>("bulkhead-shim")).ok();
  // A session of its own: no terminal and no signal to the agent's process group reaches it.
  setsid();
  if (!arrange(fds, count).ok()) return 1;
  HandedFds handed;
  Fd file = receivePlan(kReportFd, &handed);
  // End of file: the agent gave up before it had one.
  if (!file.valid()) return 1;
  MappedPlan plan(file.get());
  file.reset();
  if (mode == Mode::container) return runContainer(std::move(plan), std::move(handed), std::move(base));
  base = Base();
  return runExec(std::move(plan));
}

struct Request {
  ForkRequest head;
  Fd fds[kForkFdsWithRelay];
  size_t count = 0;
};

enum class Heard { request, nothing, end };

/** The end of the stream is the agent's end. A malformed request comes as one without descriptors. */
Heard receive(Request* request) {
  int fds[kForkFdsWithRelay];
  Result<sys::Received> received =
      sys::receiveMessage(kServerFd, &request->head, sizeof request->head, fds, kForkFdsWithRelay);
  if (!received.ok()) {
    if (received.error().err == EAGAIN) return Heard::nothing;
    return received.error().err == EMSGSIZE ? Heard::request : Heard::end;
  }
  if (received.value().size == 0) return Heard::end;
  for (size_t index = 0; index < received.value().fdCount; ++index) request->fds[index] = Fd(fds[index]);
  const bool whole = received.value().size == sizeof request->head && received.value().fdCount >= kForkFds;
  request->count = whole ? received.value().fdCount : 0;
  return Heard::request;
}

/** Until the bell rings or the agent has ended; both may have left requests. False when there is no bell to hear. */
bool awaitBell() {
  // No event is asked of the socket: its end is always told, and its data wakes nobody.
  struct pollfd slots[] = {{kBellFd, POLLIN, 0}, {kServerFd, 0, 0}};
  if (sys::retry([&] { return poll(slots, std::size(slots), -1); }) < 0) return false;
  if (slots[0].revents == 0) return true;
  uint64_t rings;
  return slots[0].revents == POLLIN && sys::retry([&] { return read(kBellFd, &rings, sizeof rings); }) > 0;
}

}  // namespace

int serve(char* title) {
  (void)sys::processControl("prctl PR_SET_NAME", PR_SET_NAME, reinterpret_cast<unsigned long>("bulkhead-fork")).ok();
  // Without one, containers copy the host's tree.
  Base base = Base::makeIfAllowed();
  if (base.valid()) (void)base.moveTo(kBaseFd).ok();
  for (;;) {
    Request request;
    const Heard heard = receive(&request);
    if (heard == Heard::end || (heard == Heard::nothing && !awaitBell())) return 0;
    if (request.count == 0) continue;
    // CLONE_PARENT: the shim is the agent's child, who reaps it, and does not notice when this server goes.
    Result<sys::Cloned> cloned = sys::cloneProcess(CLONE_PARENT, -1);
    if (cloned.ok() && cloned.value().pid == 0) {
      int fds[kForkFdsWithRelay];
      for (size_t index = 0; index < request.count; ++index) fds[index] = request.fds[index].release();
      return runShim(request.head.mode, fds, request.count, std::move(base), title);
    }
    const ForkReply reply = cloned.ok() ? ForkReply{0, cloned.value().pid} : ForkReply{cloned.error().err, 0};
    Fd pidfd = cloned.ok() ? std::move(cloned.value().pidfd) : Fd();
    const int passed = pidfd.get();
    // An agent that gave up meanwhile hears nothing, and its shim ends by itself.
    (void)sys::sendMessage(request.fds[0].get(), &reply, sizeof reply, &passed, pidfd.valid() ? 1 : 0).ok();
  }
}

}  // namespace bulkhead::init
