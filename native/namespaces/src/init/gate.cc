#include "init/gate.h"

#include <linux/close_range.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "init/child.h"
#include "init/hook.h"
#include "init/report.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::init {

Status Gate::pass(Steps& steps) {
  TRY(steps.begin("exec"));
  TRY(checkProgram(container_.process));
  TRY(steps.begin("gate"));
  const char ready = static_cast<char>(ChildMessage::ready);
  TRY(sys::sendMessage(socket_, &ready, 1));
  Fd state;
  // A starter that was killed between its connect and its word has started nothing.
  while (!state.valid()) {
    const long fd = sys::retry([&] { return accept4(kGateFd, nullptr, nullptr, SOCK_CLOEXEC); });
    if (fd < 0) return failure("accept4", errno, "gate");
    starter_ = TRY(aboveProgram(Fd(static_cast<int>(fd)), container_.process));
    char word = 0;
    int passed = -1;
    Result<sys::Received> received = sys::receiveMessage(starter_.get(), &word, 1, &passed, 1);
    if (!received.ok() || received.value().fdCount == 0) continue;
    state = Fd(passed);
    if (word != kGateOpens) state.reset();
  }
  TRY(steps.begin("startContainer hooks"));
  return runHooks(container_.startContainerHooks, {state.get(), -1});
}

Result<Fd> aboveProgram(Fd fd, const plan::Process& process) {
  if (process.preservedFds == 0) return fd;
  return sys::duplicate(fd.get(), kPreservedFd + static_cast<int>(process.preservedFds));
}

Status passDescriptors(const plan::Process& process) {
  TRY(sys::closeFrom(3, ~0u, CLOSE_RANGE_CLOEXEC));
  for (int index = 0; index < static_cast<int>(process.preservedFds); ++index) {
    // Upwards, so that a number is read before it is overwritten; dup2 leaves out close-on-exec.
    if (dup2(kPreservedFd + index, 3 + index) < 0) return failure("dup2", errno, "preserved descriptor");
  }
  return Done{};
}

}  // namespace bulkhead::init
