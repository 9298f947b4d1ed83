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
// linux/net.h (SYS_*) and linux/ipc.h: the first argument of socketcall(2) and ipc(2)
constexpr Named kSocketCalls[] = {{"socket", 1},    {"bind", 2},        {"connect", 3},     {"listen", 4},
                                  {"accept", 5},    {"getsockname", 6}, {"getpeername", 7}, {"socketpair", 8},
                                  {"send", 9},      {"recv", 10},       {"sendto", 11},     {"recvfrom", 12},
                                  {"shutdown", 13}, {"setsockopt", 14}, {"getsockopt", 15}, {"sendmsg", 16},
                                  {"recvmsg", 17},  {"accept4", 18},    {"recvmmsg", 19},   {"sendmmsg", 20}};
constexpr Named kIpcCalls[] = {{"semop", 1},   {"semget", 2},  {"semctl", 3},  {"semtimedop", 4},
                               {"msgsnd", 11}, {"msgrcv", 12}, {"msgget", 13}, {"msgctl", 14},
                               {"shmat", 21},  {"shmdt", 22},  {"shmget", 23}, {"shmctl", 24}};

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

Multiplexed multiplexed(Arch arch, std::string_view name) {
  if (arch != Arch::i386) return {-1, 0};
  const auto in = [&](const auto& calls) {
    const auto* at =
        std::find_if(std::begin(calls), std::end(calls), [&](const Named& row) { return row.name == name; });
    return at == std::end(calls) ? 0u : static_cast<uint32_t>(at->number);
  };
  if (const uint32_t call = in(kSocketCalls); call != 0) return {find(kI386, "socketcall"), call};
  if (const uint32_t call = in(kIpcCalls); call != 0) return {find(kI386, "ipc"), call};
  return {-1, 0};
}

}  // namespace bulkhead::seccomp
