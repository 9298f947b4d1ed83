// OCI `linux.seccomp` to a program, remembered by the profile's text.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "plan/context.h"
#include "seccomp/profile.h"

namespace bulkhead::seccomp {

struct Program {
  uint32_t flags = 0;
  std::vector<Instruction> instructions;
  std::vector<std::string> warnings;
};

/** Compiled profiles of one process. Small: a host has a handful of profiles; full, it starts again. */
class Cache {
 public:
  const Program* find(const std::string& key) const {
    const auto at = programs_.find(key);
    return at == programs_.end() ? nullptr : &at->second;
  }
  void store(const std::string& key, const Program& program) {
    if (programs_.size() >= 64) programs_.clear();
    programs_.emplace(key, program);
  }

 private:
  std::unordered_map<std::string, Program> programs_;
};

/** Every name the reader knows. */
std::vector<std::string_view> actionNames();
std::vector<std::string_view> compareNames();
std::vector<std::string_view> flagNames();

/** Reads the profile at `view`; false after `context` has the error. Unknown system calls become warnings. */
bool readProfile(plan::Context* context, const plan::View& view, Profile* profile, std::vector<std::string>* warnings);

}  // namespace bulkhead::seccomp
