#include "tracer.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "init/report.h"
#include "launcher.h"
#include "sys/syscalls.h"

namespace bulkhead::test {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                          PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;

[[noreturn]] void giveUp(const char* what) {
  perror(what);
  exit(2);
}

/** In glibc's struct user, which PTRACE_POKEUSER addresses. */
void* registerAt(size_t offset) {
  return reinterpret_cast<void*>(offsetof(struct user, regs) + offset);
}

/** A container's shim waits by epoll, an exec's by a poll that is more than a look, and not a pause. */
bool waits(const struct user_regs_struct& registers) {
  const long number = static_cast<long>(registers.orig_rax);
  return number == SYS_epoll_wait || number == SYS_epoll_pwait ||
         (number == SYS_poll && registers.rdi != 0 && registers.rdx != 0);
}

}  // namespace

bool Tracer::canFail(long number) {
  return number != SYS_close && number != SYS_exit_group && number != SYS_exit && number != SYS_rt_sigreturn;
}

void Tracer::becomeCommand() {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
  std::vector<char*> words;
  for (std::string& word : command_) words.push_back(word.data());
  words.push_back(nullptr);
  ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  raise(SIGSTOP);
  execv(words[0], words.data());
  _exit(126);
}

bool Tracer::isOurs(pid_t pid) const {
  if (command_.empty()) return false;
  char name[64] = {};
  const std::string path = "/proc/" + std::to_string(pid) + "/cmdline";
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const ssize_t size = file < 0 ? 0 : read(file, name, sizeof name - 1);
  if (file >= 0) close(file);
  return size > 0 && strcmp(name, "bulkhead-init") == 0;
}

void Tracer::launch(std::string_view plan) {
  if (!command_.empty()) {
    const pid_t pid = fork();
    if (pid < 0) giveUp("fork");
    if (pid == 0) becomeCommand();
    return;
  }
  Result<Fd> file = sys::memoryFile("plan", MFD_ALLOW_SEALING);
  if (!file.ok() || !sys::writeAll(file.value().get(), plan.data(), plan.size()).ok()) giveUp("plan");
  if (fcntl(file.value().get(), F_ADD_SEALS, kSeals) < 0) giveUp("seals");
  Result<sys::Pair> pair = sys::socketPair(SOCK_SEQPACKET);
  if (!pair.ok()) giveUp("socketpair");
  report_ = std::move(pair.value().left);
  if (!next_.empty() && !Launcher::hand(report_.get(), next_).ok()) giveUp("plan");
  const pid_t pid = fork();
  if (pid < 0) giveUp("fork");
  if (pid > 0) return;
  setsid();
  const int null = open("/dev/null", O_RDWR);
  // Above every number that is filled here.
  const int planCopy = fcntl(file.value().get(), F_DUPFD, 16);
  const int reportCopy = fcntl(pair.value().right.get(), F_DUPFD, 16);
  for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
  dup2(planCopy, init::kPlanFd);
  dup2(reportCopy, init::kReportFd);
  ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  raise(SIGSTOP);
  char name[] = "bulkhead-init";
  char* arguments[] = {name, const_cast<char*>(mode_), const_cast<char*>(more_), nullptr};
  char* environment[] = {nullptr};
  execve(executable_.c_str(), arguments, environment);
  _exit(126);
}

pid_t Tracer::pidOf(unsigned number) const {
  for (const auto& [pid, process] : processes_) {
    if (process.number == number) return pid;
  }
  return 0;
}

void Tracer::add(pid_t pid) {
  // A child may have stopped, or even ended, before its maker's event is told.
  if (!seen_.insert(pid).second) return;
  processes_[pid] = {static_cast<unsigned>(traced_.calls.size()), false, false};
  traced_.calls.emplace_back();
}

void Tracer::resume(pid_t pid, int signal) {
  // ESRCH: it was killed meanwhile, which waitpid will tell.
  ptrace(PTRACE_SYSCALL, pid, nullptr, reinterpret_cast<void*>(static_cast<long>(signal)));
}

void Tracer::entered(pid_t pid, Process* process, long number) {
  std::vector<long>& calls = traced_.calls[process->number];
  const bool here = fault_.process == process->number && fault_.call == calls.size();
  calls.push_back(number);
  if (!here) return;
  if (fault_.kind == Fault::Kind::kill) {
    const pid_t victim = pidOf(fault_.victim);
    if (victim == 0) return;
    traced_.hit = number;
    kill(victim, SIGKILL);
  } else if (fault_.kind == Fault::Kind::fail && canFail(number)) {
    traced_.hit = number;
    // No call has this number, so the kernel does nothing.
    ptrace(PTRACE_POKEUSER, pid, registerAt(offsetof(struct user_regs_struct, orig_rax)), reinterpret_cast<void*>(-1L));
    process->failing = true;
  }
}

void Tracer::systemCall(pid_t pid, Process* process) {
  struct user_regs_struct registers;
  if (ptrace(PTRACE_GETREGS, pid, nullptr, &registers) < 0) return;
  process->inCall = !process->inCall;
  if (process->inCall) {
    if (!begun_) return;
    if (process->number == 0 && settled_ && command_.empty() && waits(registers)) std::exchange(settled_, nullptr)();
    entered(pid, process, static_cast<long>(registers.orig_rax));
  } else if (process->failing) {
    process->failing = false;
    const long answer = -fault_.err;
    ptrace(PTRACE_POKEUSER, pid, registerAt(offsetof(struct user_regs_struct, rax)), reinterpret_cast<void*>(answer));
  }
}

void Tracer::stopped(pid_t pid, int status) {
  const int signal = WSTOPSIG(status);
  const int event = status >> 16;
  auto found = processes_.find(pid);
  if (found == processes_.end()) {
    // A new one, before it has run at all, and before its maker's event.
    add(pid);
    if (traced_.calls.size() == 1) ptrace(PTRACE_SETOPTIONS, pid, nullptr, reinterpret_cast<void*>(kOptions));
    return resume(pid, 0);
  }
  if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
    unsigned long made = 0;
    ptrace(PTRACE_GETEVENTMSG, pid, nullptr, &made);
    add(static_cast<pid_t>(made));
    return resume(pid, 0);
  }
  if (event == PTRACE_EVENT_EXEC && begun_ && !isOurs(pid)) {
    // The container's program, which is none of ours.
    processes_.erase(found);
    ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
    return;
  }
  if (event == PTRACE_EVENT_EXEC) begun_ = true;
  if (event != 0) return resume(pid, 0);
  if (signal == (SIGTRAP | 0x80)) {
    systemCall(pid, &found->second);
    return resume(pid, 0);
  }
  resume(pid, signal == SIGSTOP ? 0 : signal);
}

Traced Tracer::run(std::string_view plan, const Fault& fault, const std::function<void()>& settled) {
  fault_ = fault;
  traced_ = {};
  settled_ = settled;
  processes_.clear();
  seen_.clear();
  begun_ = false;
  launch(plan);
  do {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, __WALL);
    if (pid < 0) break;
    if (WIFSTOPPED(status)) {
      stopped(pid, status);
      continue;
    }
    const auto ended = processes_.find(pid);
    if (ended == processes_.end()) continue;
    if (ended->second.number == 0) status_ = status;
    if (ended->second.number == 0 && settled_ && !command_.empty()) std::exchange(settled_, nullptr)();
    processes_.erase(ended);
  } while (!processes_.empty());
  return traced_;
}

}  // namespace bulkhead::test
