#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"

static int reportDisk = -1;

// Aligned, because the disk is opened with O_DIRECT.
static _Alignas(512) struct report sector = {.magic = {'B', 'H', 'V', 'M', 'R', 'E', 'P', '1'}, .exitCode = -1};

static void writeSector(void) {
  if (reportDisk >= 0 && pwrite(reportDisk, &sector, sizeof sector, 0) == (ssize_t)sizeof sector) return;
  // Nobody will know; the console is all there is.
  fprintf(stderr, "bulkhead-guest: the report could not be written: %m\n");
}

void openReport(int disk) {
  reportDisk = disk;
}

void reportRunning(void) {
  sector.state = kReportRunning;
  writeSector();
}

void reportEnded(int waitStatus, uint32_t oomKills) {
  sector.state = kReportEnded;
  sector.oomKills = oomKills;
  if (WIFSIGNALED(waitStatus)) {
    sector.signal = WTERMSIG(waitStatus);
  } else {
    sector.exitCode = WEXITSTATUS(waitStatus);
  }
  writeSector();
}

void fail(const char* step, const char* path, int error) {
  sector.state = kReportFailed;
  sector.error = error;
  snprintf(sector.step, sizeof sector.step, "%s", step);
  snprintf(sector.path, sizeof sector.path, "%s", path);
  writeSector();
  // Before the report disk is there, the serial port is what is left.
  if (reportDisk < 0) fprintf(stderr, "bulkhead-guest: %s %s: %s\n", step, path, strerror(error));
  powerOff();
}

void powerOff(void) {
  sync();
  // The kernel calls its own end an emergency, in the middle of what the program said last.
  writeFile("/proc/sys/kernel/printk", "0", 0);
  reboot(RB_POWER_OFF);
  // A machine without a power button: the monitor ends with its processors.
  reboot(RB_AUTOBOOT);
  for (;;) pause();
}
