// The two files of a snapshot.
#pragma once

#include "sys/fd.h"

namespace bulkhead::vm {

struct SnapshotFiles {
  /** Open for reading where a machine is restored, for writing where frames are received; never a monitor's to write.
   */
  Fd state;
  Fd memory;
};

}  // namespace bulkhead::vm
