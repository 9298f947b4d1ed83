// bulkhead-vmm: one virtual machine, or one question about this host's KVM.
#include <fcntl.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstring>

#include "control/control.h"
#include "control/view.h"
#include "jail/allow_list.h"
#include "jail/jail.h"
#include "machine/affinity.h"
#include "machine/self_test.h"
#include "machine/tsc.h"
#include "sys/syscalls.h"
#include "vmm/devices.h"
#include "vmm/named_file.h"
#include "vmm/open_machine.h"

namespace bulkhead::vm {
namespace {

constexpr int kCannotStart = 1;
constexpr int kUsage = 2;
/** And each way in which a machine ends on its own. */
constexpr int kFirstOutcome = 10;

/** An error as one line of JSON; its texts are our own, so nothing in them needs escaping but what a caller typed. */
void printError(FILE* to, const Error& error) {
  FixedText<256> about;
  for (const char character : error.path.view()) {
    if (character == '"' || character == '\\') about.append("\\");
    if (static_cast<unsigned char>(character) >= ' ') about.append({&character, 1});
  }
  fprintf(to, "{\"error\":\"%s\",\"errno\":\"%s\",\"about\":\"%s\"}\n", error.op, strerrorname_np(error.err),
          about.c_str());
}

Result<SelfTest> runSelfTest(const VmmOptions& options) {
  return selfTest(TRY(openNamed(options.kvm, O_RDWR)));
}

int answerSelfTest(const VmmOptions& options) {
  auto asked = runSelfTest(options);
  SelfTest test;
  if (asked.ok()) {
    test = asked.take();
  } else {
    test.reason = KvmReason::unusable;
    test.error = asked.error();
  }
  printf(
      "{\"level\":\"%s\",\"reason\":\"%s\",\"virtualization\":%s,\"picosecondsPerInstruction\":%lu,\"tscKhz\":%lu}\n",
      nameOf(test.level), nameOf(test.reason), test.virtualization ? "true" : "false",
      static_cast<unsigned long>(test.picosecondsPerInstruction), static_cast<unsigned long>(measureTscKhz()));
  if (test.reason == KvmReason::unusable) printError(stderr, test.error);
  return test.level == KvmLevel::none ? kCannotStart : 0;
}

constexpr std::string_view kDescriptor = "fd:";

int answerQuestion(const Question& question) {
  auto answer = ask(question);
  if (!answer.ok()) {
    printError(stderr, answer.error());
    return kCannotStart;
  }
  fprintf(answer.value().refused ? stderr : stdout, "%s\n", answer.value().text.c_str());
  return answer.value().refused ? kCannotStart : 0;
}

/** What each kind of thread may do; null without a jail. */
std::string callsOf(const VmmOptions& options) {
  if (!options.jail) return "null";
  const auto names = [&](ThreadKind kind) {
    const auto calls = allowedCalls(kind, socketsOf(options));
    return namesOf({calls.data(), static_cast<uint32_t>(calls.size())});
  };
  return "{\"processor\":" + names(ThreadKind::processor) + ",\"loop\":" + names(ThreadKind::loop) +
         ",\"loader\":" + names(ThreadKind::loader) + "}";
}

/** When each step of the start began, by CLOCK_MONOTONIC; null unless they are wanted. */
std::string phasesOf(const VmmOptions& options, const Machine& machine) {
  if (!options.phases) return "null";
  std::string text = "{";
  for (const Phases::Phase& phase : machine.phases().all()) {
    text += std::string(text.size() > 1 ? "," : "") + '"' + phase.name + "\":" + std::to_string(phase.beganNs);
  }
  return text + "}";
}

Result<Outcome> runMachine(const VmmOptions& options) {
  // Streams of a vsock are more than the limit that programs begin with.
  TRY(sys::raiseOpenFiles());
  // Whoever touches a page first has it from his own node's memory: until the guest runs, that is this thread.
  if (!options.machine.pinned.empty()) TRY(runOn(pthread_self(), options.machine.pinned));
  const auto machine = TRY(openMachine(options));
  std::unique_ptr<Control> control;
  if (!options.control.empty()) {
    Fd socket = options.control.starts_with(kDescriptor) ? TRY(openNamed(options.control, O_RDWR))
                                                         : TRY(listenAt(options.control, SOCK_SEQPACKET));
    control = TRY(Control::attach(std::move(socket), machine.get(), callsOf(options)));
  }
  if (options.jail) TRY(confineProcess());
  const Outcome outcome = TRY(machine->run());
  if (options.quiet) return outcome;
  const ExitCounts exits = machine->exits();
  fprintf(stderr,
          "{\"outcome\":\"%s\",\"detail\":%lu,\"portReads\":%lu,\"portWrites\":%lu,\"memoryReads\":%lu,"
          "\"memoryWrites\":%lu,\"unclaimed\":%lu,\"phases\":%s}\n",
          nameOf(outcome), machine->ending().detail(), exits.portReads, exits.portWrites, exits.memoryReads,
          exits.memoryWrites, exits.unclaimed, phasesOf(options, *machine).c_str());
  return outcome;
}

int run(int count, char** words) {
  auto options = parseOptions(count, words);
  if (!options.ok()) {
    printError(stderr, options.error());
    fputs(usage(), stderr);
    fputs(deviceUsage(), stderr);
    return kUsage;
  }
  if (options.value().selfTest) return answerSelfTest(options.value());
  if (!options.value().question.control.empty()) return answerQuestion(options.value().question);
  auto outcome = runMachine(options.value());
  if (!outcome.ok()) {
    printError(stderr, outcome.error());
    return kCannotStart;
  }
  return outcome.value() == Outcome::poweredOff ? 0 : kFirstOutcome + static_cast<int>(outcome.value());
}

}  // namespace
}  // namespace bulkhead::vm

int main(int count, char** words) {
  return bulkhead::vm::run(count, words);
}
