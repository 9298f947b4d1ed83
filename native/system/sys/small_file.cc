#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "sys/file.h"
#include "sys/retry.h"

namespace bulkhead::sys {

Result<size_t> readFile(int at, const char* path, char* buffer, size_t capacity) {
  Fd fd = TRY(openAt(at, path, O_RDONLY));
  size_t size = 0;
  for (;;) {
    const long count = retry([&] { return read(fd.get(), buffer + size, capacity - size); });
    if (count < 0) return failure("read", errno, path);
    size += static_cast<size_t>(count);
    if (count == 0) break;
    if (size == capacity) return failure("read", EFBIG, path);
  }
  buffer[size] = '\0';
  return size;
}

Status writeFile(int at, const char* path, std::string_view text) {
  Fd fd = TRY(openAt(at, path, O_WRONLY | O_NOCTTY));
  const long written = retry([&] { return write(fd.get(), text.data(), text.size()); });
  if (written < 0) return failure("write", errno, path);
  if (static_cast<size_t>(written) != text.size()) return failure("write", EIO, path);
  return Done{};
}

Status replaceFile(int directory, const char* name, std::string_view text) {
  FixedText<64> temporary(".");
  temporary.append(name);
  temporary.append(".new");
  Fd fd = TRY(openAt(directory, temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0640));
  Status written = writeAll(fd.get(), text.data(), text.size());
  if (written.ok()) written = renameAt(directory, temporary.c_str(), name);
  if (!written.ok()) (void)removeAt(directory, temporary.c_str(), 0).ok();
  return written;
}

bool parseUnsigned(std::string_view text, uint64_t limit, uint64_t* value) {
  if (text.empty() || text.size() > 20) return false;
  uint64_t total = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') return false;
    const uint64_t step = static_cast<uint64_t>(digit - '0');
    if (total > (UINT64_MAX - step) / 10) return false;
    total = total * 10 + step;
  }
  if (total > limit) return false;
  *value = total;
  return true;
}

}  // namespace bulkhead::sys
