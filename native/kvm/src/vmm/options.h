// The command line of bulkhead-vmm.
#pragma once

#include <string>
#include <vector>

#include "machine/machine.h"
#include "vmm/ask.h"

namespace bulkhead::vm {

struct VmmOptions {
  MachineOptions machine;
  // Lists of the host's processors, as parseCpuList wants them.
  std::string pin;
  std::string loopCpus;
  /** And of its NUMA nodes. */
  std::string memoryNodes;
  bool selfTest = false;
  /** How the machine ended is said by the exit code alone. */
  bool quiet = false;
  /** The steps of the start are told with how it ended. */
  bool phases = false;
  /** Everything is given up that a machine that runs does not need. */
  bool jail = true;
  // As openNamed wants them.
  std::string kvm = "/dev/kvm";
  /** Where it cannot be opened, images are read whole before the guest runs. */
  std::string lateMemory = "/dev/userfaultfd";
  std::string kernel;
  std::string initramfs;
  /** State and memory file of a snapshot, which take the kernel's place. */
  std::string restore;
  std::string memory;
  std::string serial = "fd:1";
  /** A socket as Control wants it, `fd:N`, or the path at which it is bound; empty: nobody asks. */
  std::string control;
  /** Asked instead of running a machine, when it names a control. */
  Question question;
  /** As openDevice wants them. */
  std::vector<std::string> devices;
};

/** @returns EINVAL with the word that is wrong */
Result<VmmOptions> parseOptions(int count, char** words);

const char* usage();

}  // namespace bulkhead::vm
