// Messages of fixed size: child to shim, and shim to whoever asked for the start.
#pragma once

#include <cstddef>
#include <cstdint>

#include "init/steps.h"
#include "sys/result.h"

namespace bulkhead::init {

/** `terminal` carries the master, and `mounted` waits for an answer; both come without a shim only. */
enum class ReportKind : uint32_t { started = 1, failed = 2, exited = 3, terminal = 4, mounted = 5, network = 6 };

struct Report {
  ReportKind kind;
  int32_t err;
  // started
  int32_t shimPid;
  int32_t processPid;
  uint64_t shimTicks;
  uint64_t processTicks;
  uint64_t startedAtUnixMs;
  // exited
  uint64_t finishedAtUnixMs;
  int32_t exitCode;  // -1: ended by `signal`
  int32_t signal;
  uint8_t oomKilled;
  uint8_t leaseExpired;
  // failed
  char step[64];
  char op[32];
  char path[192];
  Timings timings;
};

/** Bytes sent without timings; with them the whole struct is. */
inline constexpr size_t kReportBytes = offsetof(Report, timings);

/** What came as a report, `bytes` of it: its texts are ended, its counts are bounded. EBADMSG when it is none. */
Status checkReport(Report* report, size_t bytes);

Report failedReport(std::string_view step, const Error& error);
/**
 * To whoever asked, with a descriptor if `fd` is one. Tried for a second while the kernel lacks memory: a caller that
 * hears nothing would wait for as long as the program runs. A caller that is gone is no failure of ours.
 */
void sendReport(const Report& report, int socket, int fd = -1, size_t bytes = kReportBytes);

/** Caller to shim of an exec. */
struct ControlMessage {
  uint16_t rows;
  uint16_t columns;
};

// Descriptors that the caller leaves in the started bulkhead-init.
inline constexpr int kPlanFd = 3;
inline constexpr int kReportFd = 4;
/** exec with a terminal: the duplex stream that is relayed to it. */
inline constexpr int kRelayFd = 5;
/** container without a shim: the listening socket at which its process waits to be started. */
inline constexpr int kGateFd = 5;
/** The first of the descriptors that are handed on to the program. */
inline constexpr int kPreservedFd = 16;

/** First byte of a message from the container's process, or from an exec's. */
enum class ChildMessage : char { process = 'c', terminal = 't', mounted = 'm', ready = 'r' };

}  // namespace bulkhead::init
