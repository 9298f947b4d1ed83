// One request to a monitor that runs, for whoever cannot send descriptors itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "snapshot/frame.h"
#include "sys/result.h"

namespace bulkhead::vm {

/** The request that has files. */
inline constexpr std::string_view kSaves = "save";

struct Question {
  /** Where a monitor's control listens. */
  std::string control;
  std::string request;
  /** Of `save`: made for the state and for the memory, and written here; gone again unless both are whole. */
  std::vector<std::string> files = {};
  /** Of `save`: what the machine has. What the monitor says of it is not believed. */
  uint64_t memoryBytes = 0;
  /** How long the monitor may be silent. */
  int patienceMs = kFramePatienceMs;
};

struct Answer {
  /** As the monitor says it. */
  std::string text;
  bool refused = false;
};

/**
 * The monitor is one that a guest may have taken over.
 * @returns EEXIST for a file that is there: a machine may be using it; ENOTSUP for a monitor of a version that does not
 * know the request; ETIMEDOUT for one that is silent; what FrameReceiver says
 */
Result<Answer> ask(const Question& question);

}  // namespace bulkhead::vm
