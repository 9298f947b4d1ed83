// Devices as the command line names them: KIND[,KEY=VALUE]...
#pragma once

#include <memory>
#include <string_view>

#include "virtio/device.h"

namespace bulkhead::vm {

/** Opens what the device needs. @returns EINVAL with the word that is wrong, or why a file cannot be opened */
Result<std::unique_ptr<Device>> openDevice(std::string_view text);

/** Kinds and keys, for the usage. */
const char* deviceUsage();

}  // namespace bulkhead::vm
