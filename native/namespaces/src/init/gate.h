// Where the process of a container without a shim waits, completely set up, until somebody starts it.
#pragma once

#include "init/steps.h"
#include "plan/plan.h"
#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::init {

/** First byte of the message that opens a gate; the state's JSON comes with it as a descriptor. */
inline constexpr char kGateOpens = 'g';

class Gate {
 public:
  /** `socket`: to the process that set this one up, and that ends once it has heard that this one is ready. */
  Gate(const plan::Container& container, int socket) : container_(container), socket_(socket) {}

  /** Says that all is ready, waits for a starter, and runs the startContainer hooks. */
  Status pass(Steps& steps);
  /** The starter, who waits for execve (end of file) or a Report; below 0 before the gate was opened. */
  int starter() const { return starter_.get(); }

 private:
  const plan::Container& container_;
  int socket_;
  Fd starter_;
};

/** `fd` again above every number that the program's own descriptors will take; as it is when it gets none. */
Result<Fd> aboveProgram(Fd fd, const plan::Process& process);
/** Only what the program is to have stays open across execve: 0 to 2, and its preserved descriptors from 3 on. */
Status passDescriptors(const plan::Process& process);

}  // namespace bulkhead::init
