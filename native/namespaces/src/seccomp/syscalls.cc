#include "seccomp/syscalls.h"

#include <algorithm>
#include <iterator>

namespace bulkhead::seccomp {
namespace {

struct Named {
  std::string_view name;
  int number;
};

constexpr Named kX86_64[] = {
#include "seccomp/syscalls_x86_64.h"
};
constexpr Named kI386[] = {
#include "seccomp/syscalls_i386.h"
};

constexpr bool sorted(const auto& table) {
  return std::is_sorted(std::begin(table), std::end(table),
                        [](const Named& a, const Named& b) { return a.name < b.name; });
}
static_assert(sorted(kX86_64) && sorted(kI386), "lookups are binary searches");

int find(const auto& table, std::string_view name) {
  const auto* at = std::lower_bound(std::begin(table), std::end(table), name,
                                    [](const Named& row, std::string_view wanted) { return row.name < wanted; });
  return at != std::end(table) && at->name == name ? at->number : -1;
}

}  // namespace

int syscallNumber(Arch arch, std::string_view name) {
  return arch == Arch::x86_64 ? find(kX86_64, name) : find(kI386, name);
}

}  // namespace bulkhead::seccomp
