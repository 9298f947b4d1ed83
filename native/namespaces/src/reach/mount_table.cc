#include "reach/mount_table.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "sys/syscalls.h"

namespace bulkhead::reach {
namespace {

/** Ends the field that begins at `*rest` and moves on to the next one; null when there is none. */
char* takeField(char** rest) {
  char* field = *rest;
  char* blank = strchr(field, ' ');
  if (blank == nullptr) return nullptr;
  *blank = '\0';
  *rest = blank + 1;
  return field;
}

bool isOctal(char digit) {
  return digit >= '0' && digit <= '7';
}

/** Blanks, tabs, newlines and backslashes are written as three octal digits. */
void unescape(char* text) {
  char* to = text;
  for (const char* from = text; *from != '\0';) {
    if (from[0] == '\\' && isOctal(from[1]) && isOctal(from[2]) && isOctal(from[3])) {
      *to++ = static_cast<char>(((from[1] - '0') << 6) | ((from[2] - '0') << 3) | (from[3] - '0'));
      from += 4;
    } else {
      *to++ = *from++;
    }
  }
  *to = '\0';
}

}  // namespace

Status parseMountLine(char* text, MountLine* line) {
  char* rest = text;
  const char* id = takeField(&rest);
  const char* parent = id == nullptr ? nullptr : takeField(&rest);
  char* device = parent == nullptr ? nullptr : takeField(&rest);
  char* root = device == nullptr ? nullptr : takeField(&rest);
  char* place = root == nullptr ? nullptr : takeField(&rest);
  if (place == nullptr) return failure("getline", EPROTO, "mountinfo");
  unescape(root);
  unescape(place);
  *line = {static_cast<unsigned>(strtoul(id, nullptr, 10)), device, root, place};
  return Done{};
}

MountTable::~MountTable() {
  if (file_ != nullptr) fclose(file_);
  free(text_);
}

Status MountTable::open(int proc) {
  Fd table = TRY(sys::openAt(proc, "self/mountinfo", O_RDONLY));
  file_ = fdopen(table.get(), "re");
  if (file_ == nullptr) return failure("fdopen", errno, "mountinfo");
  table.release();
  return Done{};
}

Result<bool> MountTable::next(MountLine* line) {
  errno = 0;
  if (getline(&text_, &capacity_, file_) < 0) {
    if (errno != 0) return failure("getline", errno, "mountinfo");
    return false;
  }
  TRY(parseMountLine(text_, line));
  return true;
}

}  // namespace bulkhead::reach
