// What the host wants of this machine: a read-only disk of NUL-terminated `key=value` strings, an empty one at the end.
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { kSettingsMax = 4 << 20, kWordsMax = 4096, kTmpfsMax = 64, kSharesMax = 8, kAddressesMax = 4 };

// One process: the entrypoint or a command beside it. Pointers reach into the text it was read from; lists end in NULL.
struct process {
  const char* args[kWordsMax + 1];
  const char* env[kWordsMax + 2];  // one more for HOME
  size_t argCount;
  size_t envCount;
  const char* cwd;
  const char* user;
};

// `address/prefix` of the network device; IPv4 or IPv6.
struct network {
  const char* mac;  // NULL: no device
  const char* mtu;
  const char* addresses[kAddressesMax];
  const char* gateways[kAddressesMax];
  size_t addressCount;
  size_t gatewayCount;
};

struct settings {
  struct process process;
  const char* hostname;
  const char* hosts;       // content of /etc/hosts
  const char* resolvConf;  // content of /etc/resolv.conf; NULL: the image's stays
  const char* pidsMax;
  const char* tmpfs[kTmpfsMax];  // `size:mode:flag:path`
  size_t tmpfsCount;
  const char* shares[kSharesMax];  // `tag:ro or rw:path`: directories of the host
  size_t shareCount;
  const char* socketDirectories[kSharesMax];  // `mode:uid:gid:ro or rw:path` (socket_directory.h)
  size_t socketDirectoryCount;
  struct network network;
  bool readOnlyRoot;
  const char* machineId;  // of a copy: for /etc/machine-id, where there is one
};

// Reads `size` bytes; false when they are not whole, name a key twice that may be there once, or are too many.
bool readSettings(const char* text, size_t size, struct settings* settings);

// Reads what a copy is told of itself: the settings without a process and what comes with it.
bool readIdentity(const char* text, size_t size, struct settings* settings);

// The part of it that a command to run beside the entrypoint has.
bool readProcess(const char* text, size_t size, struct process* process);
