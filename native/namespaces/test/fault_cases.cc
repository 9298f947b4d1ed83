#include "fault_cases.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <random>

#include "leftovers.h"

namespace bulkhead::test {

bool parseChoice(int count, char** words, FaultChoice* choice) {
  if (count < 1) return false;
  const std::string_view kind = words[0];
  if (kind != "fail" && kind != "kill") return false;
  choice->kill = kind == "kill";
  choice->seed = static_cast<unsigned>(time(nullptr));
  for (int index = 1; index < count; ++index) {
    const std::string_view name = words[index];
    if (name == "--all") {
      choice->all = true;
      continue;
    }
    if (index + 1 == count) return false;
    const char* value = words[++index];
    if (name == "--call") {
      choice->only = atol(value);
    } else if (name == "--cases") {
      choice->cases = strtoul(value, nullptr, 10);
    } else if (name == "--seed") {
      choice->seed = static_cast<unsigned>(strtoul(value, nullptr, 10));
    } else {
      return false;
    }
  }
  return true;
}

std::vector<Fault> chooseFaults(const Traced& model, const FaultChoice& choice) {
  // EINTR only where the kernel has it: all signals are blocked until the last moment before the program.
  constexpr int kErrors[] = {ENOSPC, EMFILE, ENOMEM, EINTR};
  std::vector<Fault> all;
  for (unsigned process = 0; process < model.calls.size(); ++process) {
    for (size_t call = 0; call < model.calls[process].size(); ++call) {
      if (choice.only >= 0 && call != static_cast<size_t>(choice.only)) continue;
      if (choice.kill) {
        for (unsigned victim = 0; victim < model.calls.size(); ++victim) {
          all.push_back({Fault::Kind::kill, process, call, 0, victim});
        }
        continue;
      }
      const long number = model.calls[process][call];
      for (const int err : kErrors) {
        if (Tracer::canFail(number) && (err != EINTR || Leftovers::isInterruptible(number))) {
          all.push_back({Fault::Kind::fail, process, call, err, 0});
        }
      }
    }
  }
  if (choice.all || all.size() <= choice.cases) return all;
  std::mt19937 random(choice.seed);
  std::shuffle(all.begin(), all.end(), random);
  all.resize(choice.cases);
  return all;
}

}  // namespace bulkhead::test
