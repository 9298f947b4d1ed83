// bulkhead-init out of this executable, and what it reports.
#pragma once

#include <string>
#include <string_view>

#include "init/report.h"
#include "oci/session.h"
#include "sys/fd.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::oci {

struct InitOptions {
  /** "container" or "exec". */
  const char* mode;
  std::string_view plan;
  /** Listening socket of a container; below 0 for an exec. */
  int gate;
  /** How many of this process's descriptors from 3 on go to the program. */
  int preservedFds;
};

class Init {
 public:
  ~Init();
  /**
   * Starts it on a read-only mount of this executable: what a container can reach of it as /proc/PID/exe cannot be
   * opened for writing (CVE-2019-5736).
   */
  Status start(const InitOptions& options);
  /** The next report, with its descriptor if it carries one. */
  Result<init::Report> next(Fd* passed);
  /** Lets a container go on that was `mounted`; `state` is for its hooks. */
  Status proceed(int state);
  /** Lets one go on whose `network` is connected. */
  Status proceed();
  /** Takes its exit status, so that nothing of it stays. */
  void reap();

 private:
  Fd process_;
  Fd report_;
};

/** In words that engines look for: a program that is missing or not executable is told as runc does. */
std::string describe(const init::Report& failed);
/** 127 for a program that does not exist, 126 for one that may not be executed, otherwise 0. */
int programStatus(const init::Report& failed);

}  // namespace bulkhead::oci
