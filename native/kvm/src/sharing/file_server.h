// A server of one directory's files, as a child of this process.
#pragma once

#include "sys/result.h"

namespace bulkhead::vm {

/** What is served, and where: the monitor connects to the Unix socket, and who does so first is the only one. */
struct Served {
  const char* socket;
  const char* directory;
};

/**
 * Starts `program` (virtiofsd of QEMU 7.2) with a socket that listens before this returns, so that nobody has to wait
 * for it. It changes its root to the directory, and keeps only the capabilities that files need.
 */
Status startFileServer(const char* program, const Served& served);

}  // namespace bulkhead::vm
