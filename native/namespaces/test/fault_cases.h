// Which faults a sweep tries: all that a run can meet, or some of them drawn by a seed.
#pragma once

#include <vector>

#include "tracer.h"

namespace bulkhead::test {

struct FaultChoice {
  bool kill = false;
  bool all = false;
  /** Only this call of each process; below 0: every call. */
  long only = -1;
  size_t cases = 150;
  unsigned seed = 0;
};

/** Reads "fail|kill [--all | --cases N | --call N] [--seed S]"; the seed is the time unless it is given. */
bool parseChoice(int count, char** words, FaultChoice* choice);
/** Faults for the calls that a run without one has made. */
std::vector<Fault> chooseFaults(const Traced& model, const FaultChoice& choice);

}  // namespace bulkhead::test
