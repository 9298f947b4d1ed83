// What became of the entrypoint, in the one sector of the report disk: it outlives this machine and whoever watches it.
#pragma once

#include <stdint.h>

enum report_state { kReportRunning = 1, kReportEnded = 2, kReportFailed = 3 };

// 512 bytes, little endian. `packages/kvm/src/report.ts` reads it.
struct report {
  char magic[8];  // "BHVMREP1"
  uint32_t state;
  int32_t exitCode;   // -1: none
  int32_t signal;     // 0: none
  uint32_t oomKills;  // since the machine started
  int32_t error;      // errno of a failed start
  uint32_t unused;
  char step[32];  // what failed, NUL-terminated
  char path[256];
  char padding[192];
};
_Static_assert(sizeof(struct report) == 512, "one sector");

// Keeps `disk`, which is written without any cache.
void openReport(int disk);

void reportRunning(void);
void reportEnded(int waitStatus, uint32_t oomKills);

// Tells of the failure and switches the machine off. `step` names what was tried, errno says what came of it.
_Noreturn void fail(const char* step, const char* path, int error);

// Syncs and switches off; the machine does not come back from it.
_Noreturn void powerOff(void);
