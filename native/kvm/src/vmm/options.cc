#include "vmm/options.h"

#include <cerrno>

#include "memory/layout.h"
#include "sys/file.h"
#include "vmm/cpu_list.h"

namespace bulkhead::vm {
namespace {

enum class Kind { flag, text, number };

struct Option {
  std::string_view name;
  Kind kind;
  uint64_t limit;
  void (*set)(VmmOptions* options, std::string_view text, uint64_t number);
};

/** 4 TiB; the memory itself refuses sizes it cannot have. */
constexpr uint64_t kMaxMemoryMib = 4 * 1024 * 1024;

constexpr Option kOptions[] = {
    {"--self-test", Kind::flag, 0, [](VmmOptions* options, std::string_view, uint64_t) { options->selfTest = true; }},
    {"--phases", Kind::flag, 0, [](VmmOptions* options, std::string_view, uint64_t) { options->phases = true; }},
    {"--no-jail", Kind::flag, 0, [](VmmOptions* options, std::string_view, uint64_t) { options->jail = false; }},
    {"--quiet", Kind::flag, 0, [](VmmOptions* options, std::string_view, uint64_t) { options->quiet = true; }},
    {"--ask", Kind::text, 0,
     [](VmmOptions* options, std::string_view text, uint64_t) { options->question.control = text; }},
    {"--request", Kind::text, 0,
     [](VmmOptions* options, std::string_view text, uint64_t) { options->question.request = text; }},
    {"--new-file", Kind::text, 0,
     [](VmmOptions* options, std::string_view text, uint64_t) { options->question.files.emplace_back(text); }},
    {"--kvm", Kind::text, 0, [](VmmOptions* options, std::string_view text, uint64_t) { options->kvm = text; }},
    {"--late-memory", Kind::text, 0,
     [](VmmOptions* options, std::string_view text, uint64_t) { options->lateMemory = text; }},
    {"--kernel", Kind::text, 0, [](VmmOptions* options, std::string_view text, uint64_t) { options->kernel = text; }},
    {"--initramfs", Kind::text, 0,
     [](VmmOptions* options, std::string_view text, uint64_t) { options->initramfs = text; }},
    {"--restore", Kind::text, 0, [](VmmOptions* options, std::string_view text, uint64_t) { options->restore = text; }},
    {"--memory", Kind::text, 0, [](VmmOptions* options, std::string_view text, uint64_t) { options->memory = text; }},
    {"--serial", Kind::text, 0, [](VmmOptions* options, std::string_view text, uint64_t) { options->serial = text; }},
    {"--control", Kind::text, 0, [](VmmOptions* options, std::string_view text, uint64_t) { options->control = text; }},
    {"--command-line", Kind::text, 0,
     [](VmmOptions* options, std::string_view text, uint64_t) { options->machine.commandLine = text; }},
    {"--cpus", Kind::number, kMaxCpus,
     [](VmmOptions* options, std::string_view, uint64_t number) {
       options->machine.cpus = static_cast<uint32_t>(number);
     }},
    {"--pin", Kind::text, 0, [](VmmOptions* options, std::string_view text, uint64_t) { options->pin = text; }},
    {"--loop-cpus", Kind::text, 0,
     [](VmmOptions* options, std::string_view text, uint64_t) { options->loopCpus = text; }},
    {"--memory-mib", Kind::number, kMaxMemoryMib,
     [](VmmOptions* options, std::string_view, uint64_t number) {
       options->machine.memory.sizeBytes = number * layout::kMiB;
       options->question.memoryBytes = number * layout::kMiB;
     }},
    {"--memory-nodes", Kind::text, 0,
     [](VmmOptions* options, std::string_view text, uint64_t) { options->memoryNodes = text; }},
    {"--device", Kind::text, 0,
     [](VmmOptions* options, std::string_view text, uint64_t) { options->devices.emplace_back(text); }},
    {"--hugepages", Kind::flag, 0,
     [](VmmOptions* options, std::string_view, uint64_t) { options->machine.memory.hugepages = true; }},
    {"--locked", Kind::flag, 0,
     [](VmmOptions* options, std::string_view, uint64_t) { options->machine.memory.locked = true; }},
    {"--interpreted", Kind::flag, 0,
     [](VmmOptions* options, std::string_view, uint64_t) { options->machine.interpreted = true; }},
};

const Option* find(std::string_view name) {
  for (const Option& option : kOptions) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

/** What a restored machine cannot be told, because it is as it was. */
bool isOfSnapshot(std::string_view name) {
  for (const std::string_view each :
       {"--kernel", "--initramfs", "--command-line", "--cpus", "--memory-mib", "--interpreted"}) {
    if (name == each) return true;
  }
  return false;
}

}  // namespace

Result<VmmOptions> parseOptions(int count, char** words) {
  VmmOptions options;
  options.machine.memory.sizeBytes = 128 * layout::kMiB;
  std::string_view ofMachine;
  for (int index = 1; index < count; ++index) {
    const std::string_view word = words[index];
    const Option* option = find(word);
    if (option == nullptr) return failure("unknown option", EINVAL, word);
    if (isOfSnapshot(word)) ofMachine = word;
    std::string_view text;
    uint64_t number = 0;
    if (option->kind != Kind::flag) {
      if (++index == count) return failure("option without a value", EINVAL, word);
      text = words[index];
    }
    if (option->kind == Kind::number && !sys::parseUnsigned(text, option->limit, &number)) {
      return failure("option with a number out of range", EINVAL, word);
    }
    option->set(&options, text, number);
  }
  if (!options.pin.empty()) options.machine.pinned = TRY(parseCpuList(options.pin));
  if (!options.loopCpus.empty()) options.machine.loopCpus = TRY(parseCpuList(options.loopCpus));
  if (!options.memoryNodes.empty()) options.machine.memory.nodes = TRY(parseCpuList(options.memoryNodes));
  if (options.selfTest) return options;
  if (!options.question.control.empty()) {
    if (options.question.request.empty()) return failure("option missing", EINVAL, "--request");
    const bool saves = options.question.request == kSaves;
    if (options.question.files.size() != (saves ? 2 : 0)) {
      return failure("files of a request: two of save, for state and memory, none of others", EINVAL, "--new-file");
    }
    if (saves && options.question.memoryBytes == 0) return failure("option missing", EINVAL, "--memory-mib");
    return options;
  }
  const bool restores = !options.restore.empty();
  if (restores != !options.memory.empty()) {
    return failure("option missing", EINVAL, restores ? "--memory" : "--restore");
  }
  if (restores && !ofMachine.empty()) return failure("option that a snapshot answers itself", EINVAL, ofMachine);
  if (!restores && options.kernel.empty()) return failure("option missing", EINVAL, "--kernel");
  return options;
}

const char* usage() {
  return "bulkhead-vmm --kernel FILE [--initramfs FILE] [--command-line TEXT] [--cpus N] [--memory-mib N]\n"
         "             [--pin CPU,...] [--loop-cpus CPU,...] [--memory-nodes NODE,...]\n"
         "             [--hugepages] [--locked] [--interpreted] [--serial FILE] [--kvm FILE] [--control fd:N|PATH]\n"
         "             [--late-memory FILE] [--quiet] [--phases] [--no-jail]\n"
         "             [--device DEVICE]...\n"
         "bulkhead-vmm --restore FILE --memory FILE [and of the above what is not the guest's]\n"
         "bulkhead-vmm --ask PATH --request WORD\n"
         "bulkhead-vmm --ask PATH --request save --new-file STATE --new-file MEMORY --memory-mib N\n"
         "bulkhead-vmm --self-test [--kvm FILE]\n"
         "FILE is a path or fd:N; DEVICE as below. Runs a machine until it ends and says how, as a line of JSON on "
         "standard error.\n";
}

}  // namespace bulkhead::vm
