// Threads on the processors they were promised.
#include "machine/affinity.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <map>
#include <thread>

#include "boot/tiny_image.h"
#include "machine/machine.h"
#include "memory/layout.h"
#include "runner.h"
#include "sys/syscalls.h"
#include "vmm/cpu_list.h"

extern "C" const char guestCounts[], guestCountsEnd[];

namespace bulkhead::vm {
namespace {

std::string lineOf(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return line.substr(key.size());
  }
  return {};
}

/** Where each thread of this process may run, by the thread's name. */
std::map<std::string, std::string> threads() {
  std::map<std::string, std::string> found;
  DIR* directory = opendir("/proc/self/task");
  if (directory == nullptr) return found;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    const std::string path = std::string("/proc/self/task/") + entry->d_name + "/status";
    found[lineOf(path, "Name:\t")] = lineOf(path, "Cpus_allowed_list:\t");
  }
  closedir(directory);
  return found;
}

/** Those that this process may use, in order. */
std::vector<uint32_t> usable() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<uint32_t> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (uint32_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

Result<std::unique_ptr<Machine>> make(const MachineOptions& wanted) {
  MachineOptions options = wanted;
  options.memory.sizeBytes = 2 * layout::kMiB;
  const std::string image = tinyImage({guestCounts, guestCountsEnd});
  const BytesSource source(image);
  MachineFiles files;
  files.kvm = TRY(sys::openAt(AT_FDCWD, "/dev/kvm", O_RDWR));
  files.kernel = &source;
  files.serialOutput = TRY(sys::openAt(AT_FDCWD, "/dev/null", O_WRONLY));
  return Machine::create(options, std::move(files));
}

bool haveKvm() {
  return sys::openAt(AT_FDCWD, "/dev/kvm", O_RDWR).ok();
}

}  // namespace

TEST(processors_and_the_loop_run_where_they_are_kept) {
  const auto cpus = usable();
  if (!haveKvm() || cpus.size() < 2) return;
  MachineOptions options;
  options.cpus = 2;
  options.pinned = {cpus[1], cpus[0]};
  options.loopCpus = {cpus[1]};
  auto machine = make(options);
  EXPECT(machine.ok());
  if (!machine.ok()) return;
  std::thread loop([&] {
    pthread_setname_np(pthread_self(), "loop");
    EXPECT(machine.value()->run().ok());
  });
  const std::map<std::string, std::string> wanted = {
      {"vcpu 0", std::to_string(cpus[1])}, {"vcpu 1", std::to_string(cpus[0])}, {"loop", std::to_string(cpus[1])}};
  bool held = false;
  for (int round = 0; round < 1000 && !held; ++round) {
    const auto actual = threads();
    held = std::all_of(wanted.begin(), wanted.end(), [&](const auto& each) {
      const auto at = actual.find(each.first);
      return at != actual.end() && at->second == each.second;
    });
    struct pollfd nothing = {-1, 0, 0};
    if (!held) poll(&nothing, 1, 5);
  }
  EXPECT(held);
  machine.value()->stop();
  loop.join();
}

TEST(a_processor_that_cannot_be_had_fails_the_start) {
  if (!haveKvm()) return;
  MachineOptions options;
  options.pinned = {kMaxHostCpus - 1};
  auto machine = make(options);
  EXPECT(machine.ok());
  if (!machine.ok()) return;
  auto outcome = machine.value()->run();
  EXPECT(!outcome.ok() && outcome.error().err == EINVAL);
  options.pinned = {0, 1};
  EXPECT(!make(options).ok());
}

TEST(what_is_kept_is_read_back) {
  const auto cpus = usable();
  std::thread([&] {
    EXPECT(runOn(pthread_self(), {cpus.front()}).ok());
    // The kernel takes such a list and leaves out what there is not.
    EXPECT(!runOn(pthread_self(), {cpus.front(), kMaxHostCpus - 1}).ok());
  }).join();
}

TEST(lists_of_processors_are_read_in_their_order_and_nothing_else_is) {
  auto list = parseCpuList("3,0,8-10");
  EXPECT(list.ok() && list.value() == (std::vector<uint32_t>{3, 0, 8, 9, 10}));
  EXPECT(parseCpuList("8191").ok());
  for (const char* wrong :
       {"", ",", "1,", "-1", "1-", "2-1", "1,1", "1-3,2", "8192", "0-99999999999", "a", "1 ,2", "0x1"}) {
    const bool refused = !parseCpuList(wrong).ok();
    if (!refused) fprintf(stderr, "taken: %s\n", wrong);
    EXPECT(refused);
  }
}

}  // namespace bulkhead::vm
