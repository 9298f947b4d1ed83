// The machine under the root file system: modules, disks and ports by name, kernel file systems.
#pragma once

#include <stddef.h>
#include <stdint.h>

// /dev, /proc and /sys, and every module in /modules, in the order of their names.
void raiseMachine(void);

// How long a device may take to appear after its driver is there, in rounds.
enum { kPatienceRounds = 500 };
void waitRound(void);

// Opens the disk whose serial number is `name`; ends the machine when it does not appear. `flags` as for open(2).
int openDisk(const char* name, int flags);
// Its path, for mount(2), in `path`.
void findDisk(const char* name, char path[64]);

// Opens a byte channel to the host: the virtio port of that name, or the virtio console `console` where there are no
// named ports. -1 when there is neither. Non-blocking.
int openPort(const char* name, int console);

// Mounts, or ends the machine.
void mountAt(const char* source, const char* target, const char* type, unsigned long flags, const char* data);

// Makes a directory, or with those above it, unless it is there; or ends the machine.
void makeDirectory(const char* path);
void makeDirectories(const char* path);

// Processes that the kernel has killed for want of memory since it started.
uint32_t oomKills(void);

// Writes a small file; -1 and errno when it cannot. `flags` are added to O_WRONLY.
int writeFile(const char* path, const char* text, int flags);
