// The first bytes of a plan: they change whenever a field does, so that a mismatched init refuses instead of guessing.
#pragma once

#include <cstddef>
#include <string>

namespace bulkhead::plan {

enum class Kind : unsigned char { container = 1, exec = 2 };

inline constexpr unsigned char kPlanVersion = 1;
inline constexpr size_t kHeaderBytes = 6;

inline std::string headerOf(Kind kind) {
  std::string header = "BHPL";
  header.push_back(static_cast<char>(kPlanVersion));
  header.push_back(static_cast<char>(kind));
  return header;
}

}  // namespace bulkhead::plan
