#include "vmm/devices.h"

#include <fcntl.h>

#include <cerrno>

#include "virtio/console.h"
#include "virtio/entropy.h"
#include "vmm/device_words.h"

namespace bulkhead::vm {
namespace {

using Opened = Result<std::unique_ptr<Device>>;

Opened openEntropy(DeviceWords*) {
  return Opened(std::make_unique<Entropy>());
}

Opened openConsole(DeviceWords* words) {
  Fd input;
  if (words->has("in")) input = TRY(words->file("in", O_RDONLY));
  Output output(TRY(words->file("out", O_WRONLY)));
  return Opened(std::make_unique<Console>(std::move(input), std::move(output)));
}

struct Kind {
  std::string_view name;
  Opened (*open)(DeviceWords* words);
};

constexpr Kind kKinds[] = {{"console", openConsole}, {"entropy", openEntropy}};

}  // namespace

Result<std::unique_ptr<Device>> openDevice(std::string_view text) {
  DeviceWords words(text);
  for (const Kind& kind : kKinds) {
    if (kind.name != words.kind()) continue;
    auto device = TRY(kind.open(&words));
    TRY(words.finish());
    return Opened(std::move(device));
  }
  return failure("unknown device", EINVAL, words.kind());
}

const char* deviceUsage() {
  return "  console,out=FILE[,in=FILE]   entropy\n";
}

}  // namespace bulkhead::vm
