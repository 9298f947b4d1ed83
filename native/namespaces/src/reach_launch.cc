#include "reach_launch.h"

#include <fcntl.h>

#include "init/report.h"
#include "sys/sealed.h"
#include "sys/spawn.h"

namespace bulkhead {

Result<Fd> launchReach(const char* path, const char* verb, std::string_view request, int output) {
  Fd file = TRY(sys::sealedBytes("bulkhead-request", request));
  Fd null = TRY(sys::openAt(AT_FDCWD, "/dev/null", O_RDWR));
  sys::Spawn spawn(init::kPlanFd + 1);
  TRY(spawn.pass(null.get(), 0));
  TRY(spawn.pass(output, 1));
  TRY(spawn.pass(null.get(), 2));
  TRY(spawn.pass(file.get(), init::kPlanFd));
  spawn.resetSignals();
  char name[] = "bulkhead-reach";
  char* arguments[] = {name, const_cast<char*>(verb), nullptr};
  return spawn.run(path, arguments);
}

}  // namespace bulkhead
