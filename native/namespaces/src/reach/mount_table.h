// /proc/self/mountinfo, line by line (proc(5)), of whatever mount namespace this process is in.
#pragma once

#include <cstdio>

#include "sys/result.h"

namespace bulkhead::reach {

struct MountLine {
  unsigned id;
  /** "major:minor" of the file system */
  const char* device;
  /** the mount's root within its file system */
  const char* root;
  /** where it lies, from this process's root */
  const char* place;
};

/** Cuts a line of the table, which it changes; EPROTO when it is none. */
Status parseMountLine(char* text, MountLine* line);

class MountTable {
 public:
  MountTable() = default;
  ~MountTable();
  MountTable(const MountTable&) = delete;
  MountTable& operator=(const MountTable&) = delete;

  /** `proc` is an open /proc of the host's pid namespace. */
  Status open(int proc);
  /** False at the end. The line's texts last until the next call. */
  Result<bool> next(MountLine* line);

 private:
  FILE* file_ = nullptr;
  char* text_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace bulkhead::reach
