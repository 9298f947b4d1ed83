// bulkhead-reach: reaches into a running container to look, to attach a directory, to detach one. Runs once, as root.
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "init/report.h"
#include "reach/verbs.h"
#include "sys/syscalls.h"

namespace {

using namespace bulkhead;

struct Verb {
  const char* name;
  Status (*run)(reach::Request*, reach::Answer*);
};
constexpr Verb kVerbs[] = {{"inspect", reach::inspect}, {"attach", reach::attach}, {"detach", reach::detach}};

constexpr off_t kMaxRequestBytes = 64 * 1024;

Result<std::string_view> mapRequest() {
  const struct stat status = TRY(sys::statusOf(init::kPlanFd));
  if (status.st_size <= 0 || status.st_size > kMaxRequestBytes) return failure("request", EMSGSIZE);
  const size_t size = static_cast<size_t>(status.st_size);
  void* bytes = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, init::kPlanFd, 0);
  if (bytes == MAP_FAILED) return failure("mmap", errno);
  return std::string_view(static_cast<const char*>(bytes), size);
}

Status run(const char* name, reach::Answer* answer) {
  const std::string_view bytes = TRY(mapRequest());
  // From here on nothing but the three standard streams is open: what joins a container must carry nothing in.
  TRY(sys::closeFrom(3, ~0u, 0));
  for (const Verb& verb : kVerbs) {
    if (strcmp(verb.name, name) != 0) continue;
    reach::Request request(bytes);
    return verb.run(&request, answer);
  }
  return failure("verb", EINVAL, name);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    constexpr std::string_view kText = "bulkhead-reach is started by the Bulkhead agent, not by hand\n";
    (void)write(STDERR_FILENO, kText.data(), kText.size());
    return 2;
  }
  // A process inside must not be able to look into the one that joins it (CVE-2016-9962).
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  umask(0);
  bulkhead::reach::Answer answer;
  answer.open('{');
  bulkhead::Status status = run(argv[1], &answer);
  if (!status.ok()) {
    answer.name("error");
    answer.error(argv[1], status.error());
  }
  answer.close('}');
  return answer.flush() && status.ok() ? 0 : 1;
}
