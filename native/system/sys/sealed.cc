#include "sys/sealed.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#include <cerrno>
#include <cstdio>

#include "sys/retry.h"

namespace bulkhead::sys {
namespace {

Status seal(const Fd& file, const char* name) {
  constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  return check(
      "fcntl F_ADD_SEALS", [&] { return fcntl(file.get(), F_ADD_SEALS, kSeals); }, name);
}

}  // namespace

Result<Fd> sealedBytes(const char* name, std::string_view bytes) {
  Fd file = TRY(memoryFile(name, MFD_ALLOW_SEALING));
  TRY(writeAll(file.get(), bytes.data(), bytes.size()));
  TRY(seal(file, name));
  return file;
}

Result<Fd> sealedProgram(const char* name, int source) {
  const struct stat status = TRY(statusOf(source));
  Fd copy = TRY(memoryFile(name, MFD_ALLOW_SEALING));
  for (off_t left = status.st_size; left > 0;) {
    const long sent = retry([&] { return sendfile(copy.get(), source, nullptr, static_cast<size_t>(left)); });
    if (sent <= 0) return failure("sendfile", sent == 0 ? EIO : errno, name);
    left -= sent;
  }
  TRY(seal(copy, name));
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", copy.get());
  return openAt(AT_FDCWD, path, O_RDONLY);
}

}  // namespace bulkhead::sys
