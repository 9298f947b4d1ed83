// The table of commands, and the help made of it.
#include <cstdio>
#include <iterator>

#include "oci/command.h"

namespace bulkhead::oci {
namespace {

constexpr OptionKind kFlag = OptionKind::flag;
constexpr OptionKind kValue = OptionKind::value;
constexpr OptionKind kList = OptionKind::list;

constexpr Option kCreateOptions[] = {
    {"bundle", 'b', kValue, "directory with config.json (default: the current one)"},
    {"console-socket", 0, kValue, "Unix socket that gets the terminal's master"},
    {"pid-file", 0, kValue, "file that gets the process id"},
    {"preserve-fds", 0, kValue, "pass this many descriptors from 3 on to the program"},
    {"no-pivot", 0, kFlag, "accepted; the root is always changed by pivot_root"},
    {"no-new-keyring", 0, kFlag, "keep the caller's session keyring instead of a new one"},
    {"pidfd-socket", 0, kValue, "Unix socket that gets a pidfd of the process"},
};
constexpr Option kRunOptions[] = {
    kCreateOptions[0],
    kCreateOptions[1],
    kCreateOptions[2],
    kCreateOptions[3],
    kCreateOptions[4],
    kCreateOptions[5],
    kCreateOptions[6],
    {"detach", 'd', kFlag, "do not wait for the container's end"},
    {"keep", 0, kFlag, "leave the container's state when it has ended"},
    {"no-subreaper", 0, kFlag, "accepted; waiting needs the adoption of the container's process"},
};
constexpr Option kExecOptions[] = {
    {"console-socket", 0, kValue, "Unix socket that gets the terminal's master"},
    {"cwd", 0, kValue, "working directory"},
    {"env", 'e', kList, "NAME=value, added to the container's environment"},
    {"tty", 't', kFlag, "with a terminal"},
    {"user", 'u', kValue, "uid[:gid], or names of the container's passwd and group"},
    {"additional-gids", 'g', kList, "further group id"},
    {"process", 'p', kValue, "file with the whole process as JSON"},
    {"detach", 'd', kFlag, "do not wait for its end"},
    {"pid-file", 0, kValue, "file that gets the process id"},
    {"process-label", 0, kValue, "SELinux label"},
    {"apparmor", 0, kValue, "AppArmor profile"},
    {"no-new-privs", 0, kFlag, "set no_new_privs"},
    {"cap", 'c', kList, "capability added to the process"},
    {"preserve-fds", 0, kValue, "pass this many descriptors from 3 on to the program"},
    {"pidfd-socket", 0, kValue, "Unix socket that gets a pidfd of the process"},
    {"cgroup", 0, kList, "[controllers:]path of a cgroup below the container's"},
    {"ignore-paused", 0, kFlag, "also in a paused container, where it waits for the resume"},
};
constexpr Option kKillOptions[] = {
    {"all", 'a', kFlag, "to every process of the container"},
    {"signal", 's', kValue, "as the operand"},
};
constexpr Option kDeleteOptions[] = {
    {"force", 'f', kFlag, "kill what runs, and succeed when there is nothing"},
};
constexpr Option kFormatOptions[] = {
    {"format", 'f', kValue, "table or json"},
    {"quiet", 'q', kFlag, "ids only"},
};
constexpr Option kUpdateOptions[] = {
    {"resources", 'r', kValue, "file with linux.resources as JSON, - for standard input"},
    {"blkio-weight", 0, kValue, "10 to 1000"},
    {"cpu-period", 0, kValue, "microseconds"},
    {"cpu-quota", 0, kValue, "microseconds in a period, -1 for none"},
    {"cpu-burst", 0, kValue, "microseconds"},
    {"cpu-idle", 0, kValue, "1: only when nothing else wants the CPU"},
    {"cpu-share", 0, kValue, "2 to 262144"},
    {"cpu-rt-period", 0, kValue, "microseconds"},
    {"cpu-rt-runtime", 0, kValue, "microseconds"},
    {"cpuset-cpus", 0, kValue, "list of CPUs"},
    {"cpuset-mems", 0, kValue, "list of memory nodes"},
    {"memory", 0, kValue, "bytes, -1 for no limit"},
    {"memory-reservation", 0, kValue, "bytes"},
    {"memory-swap", 0, kValue, "bytes of memory and swap, -1 for no limit"},
    {"pids-limit", 0, kValue, "processes, -1 for no limit"},
};
constexpr Option kEventsOptions[] = {
    {"stats", 0, kFlag, "print what is used once"},
    {"interval", 0, kValue, "time between prints (default: 5s)"},
};
constexpr Option kSpecOptions[] = {
    {"bundle", 'b', kValue, "directory (default: the current one)"},
};

template <size_t kSize>
constexpr Command command(const char* name, const char* operands, const char* help, const Option (&options)[kSize],
                          size_t minimum, size_t maximum, int (*run)(Session*, const Arguments&)) {
  return {name, operands, help, options, kSize, minimum, maximum, run};
}

void printOptions(const Option* options, size_t count) {
  for (size_t index = 0; index < count; ++index) {
    const Option& option = options[index];
    const std::string name = std::string("--") + option.name + (option.kind == kFlag ? "" : " VALUE");
    const std::string letter = option.letter == 0 ? "    " : std::string("-") + option.letter + ", ";
    printf("  %s%-24s %s\n", letter.c_str(), name.c_str(), option.help);
  }
}

}  // namespace

const Command kCommands[] = {
    command("create", "ID", "make a container that waits for start", kCreateOptions, 1, 1, runCreate),
    command("run", "ID", "create, start, wait and delete", kRunOptions, 1, 1, runRun),
    {"start", "ID", "run a created container's program", nullptr, 0, 1, 1, runStart},
    {"state", "ID", "print the state as JSON", nullptr, 0, 1, 1, runState},
    command("kill", "ID [SIGNAL]", "send a signal (default: TERM)", kKillOptions, 1, 2, runKill),
    command("delete", "ID", "remove a stopped container", kDeleteOptions, 1, 1, runDelete),
    command("exec", "ID COMMAND...", "run a process in a container", kExecOptions, 1, 0, runExecCommand),
    command("ps", "ID [PS OPTION...]", "list a container's processes", kFormatOptions, 1, 0, runPs),
    command("list", "", "list containers", kFormatOptions, 0, 0, runList),
    command("update", "ID", "change limits of a live container", kUpdateOptions, 1, 1, runUpdate),
    {"pause", "ID", "stop all processes", nullptr, 0, 1, 1, runPause},
    {"resume", "ID", "let paused processes run again", nullptr, 0, 1, 1, runResume},
    command("events", "ID", "print usage and out-of-memory kills", kEventsOptions, 1, 1, runEvents),
    command("spec", "", "write a config.json to begin with", kSpecOptions, 0, 0, runSpec),
    {"features", "", "print what this runtime supports", nullptr, 0, 0, 0, runFeatures},
};
const size_t kCommandCount = std::size(kCommands);

const Option kGlobalOptions[] = {
    {"root", 0, kValue, "directory of container states (default: /run/bulkhead-oci)"},
    {"log", 0, kValue, "file for errors and warnings (default: standard error)"},
    {"log-format", 0, kValue, "text or json"},
    {"debug", 0, kFlag, "log more"},
    {"systemd-cgroup", 0, kFlag, "cgroupsPath is slice:prefix:name, and systemd makes the cgroup"},
    {"cgroup-manager", 0, kValue, "cgroupfs or systemd"},
    {"rootless", 0, kValue, "accepted; only true is refused"},
    {"criu", 0, kValue, "accepted; checkpoint and restore are not commands of this runtime"},
    {"help", 'h', kFlag, "print this"},
    {"version", 'v', kFlag, "print the version"},
};
const size_t kGlobalOptionCount = std::size(kGlobalOptions);

void printHelp(const Command* command) {
  if (command != nullptr) {
    printf("usage: bulkhead-oci [GLOBAL OPTION...] %s [OPTION...] %s\n\n%s\n", command->name, command->operands,
           command->help);
    if (command->optionCount > 0) printf("\noptions:\n");
    printOptions(command->options, command->optionCount);
    return;
  }
  printf("usage: bulkhead-oci [GLOBAL OPTION...] COMMAND [OPTION...]\n\nglobal options:\n");
  printOptions(kGlobalOptions, kGlobalOptionCount);
  printf("\ncommands:\n");
  for (const Command& one : kCommands) printf("  %-10s %-18s %s\n", one.name, one.operands, one.help);
}

}  // namespace bulkhead::oci
