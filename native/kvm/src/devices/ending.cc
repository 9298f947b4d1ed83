#include "devices/ending.h"

namespace bulkhead::vm {

const char* nameOf(Outcome outcome) {
  switch (outcome) {
    case Outcome::running:
      return "running";
    case Outcome::poweredOff:
      return "powered-off";
    case Outcome::reset:
      return "reset";
    case Outcome::tripleFault:
      return "triple-fault";
    case Outcome::notEmulated:
      return "instruction-not-emulated";
    case Outcome::cpuFailed:
      return "cpu-failed";
    case Outcome::stopped:
      return "stopped";
    case Outcome::panicked:
      return "kernel-panic";
    case Outcome::imageLost:
      return "image-lost";
  }
  return "unknown";
}

}  // namespace bulkhead::vm
