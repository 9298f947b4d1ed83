// Waiting for a process in the foreground: its signals, its terminal, its end.
#pragma once

#include "oci/session.h"
#include "sys/fd.h"
#include "sys/procfs.h"

namespace bulkhead::oci {

/** Made before the process exists, so that no signal and no orphan is missed. */
class Foreground {
 public:
  /** Init's orphan, the process to be waited for, will become this process's child. */
  bool prepare(Session* session);
  ~Foreground();
  /**
   * Passes signals on to the process, and input and output between this one's and `terminal` (may be invalid), until
   * the process has ended. The exit status as a shell tells it: 128 and the signal's number for one that was killed.
   */
  int wait(Session* session, const sys::ProcessRef& process, Fd terminal);

 private:
  bool makeRaw();
  void restore();

  Fd signals_;
  bool raw_ = false;
};

}  // namespace bulkhead::oci
