// Which of the host's processors a thread runs on.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "sys/result.h"

namespace bulkhead::vm {

/** Above every processor that Linux can have (CONFIG_NR_CPUS is at most 8192). */
inline constexpr uint32_t kMaxHostCpus = 8192;

/**
 * Keeps a thread on exactly these processors, and reads back that it is so: the kernel leaves out silently those that
 * the cpuset has not. @returns EINVAL when any of them cannot be had
 */
Status runOn(pthread_t thread, const std::vector<uint32_t>& cpus);

/** A thread of any process, as the kernel numbers it; a type of its own, as pthread_t is a number too. */
struct ThreadId {
  pid_t tid;
};

/** The same for a thread of another process, which an agent repairs. @returns ESRCH when it has ended */
Status runOn(ThreadId thread, const std::vector<uint32_t>& cpus);

}  // namespace bulkhead::vm
