// Seeded profiles and calls for property tests.
#pragma once

#include <linux/seccomp.h>

#include <vector>

#include "seccomp/profile.h"

namespace bulkhead::test {

struct RandomProfile {
  /** Rules of one call may have any conditions and actions; otherwise one rule has many, or many look at one argument.
   */
  bool overlaps = false;
  bool withI386 = true;
};
seccomp::Profile randomProfile(uint32_t seed, RandomProfile options);

/** Calls of an architecture: every number a profile may name with arguments around the values it may compare. */
std::vector<struct seccomp_data> samples(const seccomp::ArchRules& arch, uint32_t seed);

}  // namespace bulkhead::test
