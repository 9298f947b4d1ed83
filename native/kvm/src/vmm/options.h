// The command line of bulkhead-vmm.
#pragma once

#include <string>

#include "machine/machine.h"

namespace bulkhead::vm {

struct VmmOptions {
  MachineOptions machine;
  bool selfTest = false;
  // A path, or `fd:N` for a descriptor that is open already, which is all there is in a jail.
  std::string kvm = "/dev/kvm";
  std::string kernel;
  std::string initramfs;
  std::string serial = "fd:1";
};

/** @returns EINVAL with the word that is wrong */
Result<VmmOptions> parseOptions(int count, char** words);

/** Opens what an option names; a descriptor is taken over. */
Result<Fd> openNamed(const std::string& name, int flags);

const char* usage();

}  // namespace bulkhead::vm
