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
    {"--kvm", Kind::text, 0, [](VmmOptions* options, std::string_view text, uint64_t) { options->kvm = text; }},
    {"--kernel", Kind::text, 0, [](VmmOptions* options, std::string_view text, uint64_t) { options->kernel = text; }},
    {"--initramfs", Kind::text, 0,
     [](VmmOptions* options, std::string_view text, uint64_t) { options->initramfs = text; }},
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
     }},
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

}  // namespace

Result<VmmOptions> parseOptions(int count, char** words) {
  VmmOptions options;
  options.machine.memory.sizeBytes = 128 * layout::kMiB;
  for (int index = 1; index < count; ++index) {
    const std::string_view word = words[index];
    const Option* option = find(word);
    if (option == nullptr) return failure("unknown option", EINVAL, word);
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
  if (!options.selfTest && options.kernel.empty()) return failure("option missing", EINVAL, "--kernel");
  return options;
}

const char* usage() {
  return "bulkhead-vmm --kernel FILE [--initramfs FILE] [--command-line TEXT] [--cpus N] [--memory-mib N]\n"
         "             [--pin CPU,...] [--loop-cpus CPU,...]\n"
         "             [--hugepages] [--locked] [--interpreted] [--serial FILE] [--kvm FILE] [--control fd:N|PATH]\n"
         "             [--quiet] [--phases] [--no-jail]\n"
         "             [--device DEVICE]...\n"
         "bulkhead-vmm --self-test [--kvm FILE]\n"
         "FILE is a path or fd:N; DEVICE as below. Runs a machine until it ends and says how, as a line of JSON on "
         "standard error.\n";
}

}  // namespace bulkhead::vm
