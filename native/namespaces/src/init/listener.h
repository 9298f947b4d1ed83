// seccomp's user notification: the filter's descriptor goes to a socket of the host.
#pragma once

#include "plan/plan.h"
#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::init {

/** A connection to the listener of a profile, made while the host's paths can be seen; invalid without one. */
Result<Fd> connectListener(const plan::Seccomp& seccomp);
/** The caller's number as the host sees it; only while the host's /proc can be seen. */
Result<pid_t> numberOnHost();

struct Notification {
  /** The connection, or below 0: nobody listens. */
  int listener = -1;
  /** The process's number on the host. */
  pid_t pid = 0;
};
/** Puts the filter on, and hands its descriptor over before anything else may be asked about. */
Status installSeccomp(const plan::Seccomp& seccomp, const Notification& notification);

}  // namespace bulkhead::init
