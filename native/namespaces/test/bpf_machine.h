// The kernel's side of a filter, for tests: an interpreter that refuses what its verifier would refuse.
#pragma once

#include <linux/seccomp.h>

#include <vector>

#include "seccomp/profile.h"

namespace bulkhead::test {

/** What the kernel's interpreter would answer; a failed expectation on anything its verifier would refuse. */
uint32_t interpret(const std::vector<seccomp::Instruction>& program, const struct seccomp_data& data);

/** What a decision says about a call, condition by condition. */
uint32_t plainDecision(const seccomp::Decision& decision, seccomp::Arch arch, const struct seccomp_data& data);

}  // namespace bulkhead::test
