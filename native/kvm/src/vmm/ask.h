// One request to a monitor that runs, for whoever cannot send descriptors itself.
#pragma once

#include <string>
#include <vector>

#include "sys/result.h"

namespace bulkhead::vm {

struct Question {
  /** Where a monitor's control listens. */
  std::string control;
  std::string request;
  /** Made for it and sent with it; gone again when the answer is an error. */
  std::vector<std::string> files;
};

struct Answer {
  /** As the monitor says it. */
  std::string text;
  bool refused = false;
};

/** @returns EEXIST for a file that is there: a machine may be using it */
Result<Answer> ask(const Question& question);

}  // namespace bulkhead::vm
