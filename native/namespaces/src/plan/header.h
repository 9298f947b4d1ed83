// The first bytes of a plan: they change whenever a field does, so that a mismatched init refuses instead of guessing.
#pragma once

#include <array>
#include <cstddef>

namespace bulkhead::plan {

enum class Kind : unsigned char { container = 1, exec = 2, birth = 3 };

inline constexpr char kPlanVersion = 2;
inline constexpr size_t kHeaderBytes = 6;

constexpr std::array<char, kHeaderBytes> headerOf(Kind kind) {
  return {'B', 'H', 'P', 'L', kPlanVersion, static_cast<char>(kind)};
}

}  // namespace bulkhead::plan
