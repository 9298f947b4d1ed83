// The user an image names, looked up in the image's own passwd and group: hostile files, read in bounded lines.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "init/child.h"
#include "sys/file.h"

namespace bulkhead::init {
namespace {

// (uid_t)-1 means "unchanged" to the kernel, so it is no id.
constexpr uint64_t kMaxId = UINT32_MAX - 1;
// A file with more than this is not read to its end.
constexpr size_t kMaxFileBytes = 4 << 20;

/** Calls `line` with each line of a file, without its newline; lines that do not fit the buffer are skipped whole. */
template <class Line>
Status forEachLine(const char* path, Line line) {
  Result<Fd> opened =
      sys::openAt2(AT_FDCWD, path, O_RDONLY | O_NOCTTY | O_NONBLOCK, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (!opened.ok()) return opened.error().err == ENOENT ? Status(Done{}) : Status(opened.error());
  Fd fd = opened.take();
  const struct stat status = TRY(sys::statusOf(fd.get()));
  if (!S_ISREG(status.st_mode)) return failure("openat2", EINVAL, path);
  char buffer[4096];
  size_t held = 0;
  bool skipping = false;
  for (size_t total = 0; total < kMaxFileBytes;) {
    const size_t count = TRY(sys::readSome(fd.get(), buffer + held, sizeof buffer - held));
    total += count;
    held += count;
    char* start = buffer;
    char* const end = buffer + held;
    while (char* newline = static_cast<char*>(memchr(start, '\n', static_cast<size_t>(end - start)))) {
      if (!skipping && !line(std::string_view(start, static_cast<size_t>(newline - start)))) return Done{};
      skipping = false;
      start = newline + 1;
    }
    held = static_cast<size_t>(end - start);
    if (count == 0) {
      if (held > 0 && !skipping) line(std::string_view(start, held));
      return Done{};
    }
    if (held == sizeof buffer) {
      skipping = true;
      held = 0;
    } else {
      memmove(buffer, start, held);
    }
  }
  return Done{};
}

std::string_view takeField(std::string_view* line) {
  const size_t colon = line->find(':');
  const std::string_view field = line->substr(0, colon);
  *line = colon == std::string_view::npos ? std::string_view() : line->substr(colon + 1);
  return field;
}

struct PasswdEntry {
  bool found = false;
  FixedText<64> name;
  uint64_t uid = 0;
  uint64_t gid = 0;
};

/** The first well-formed entry whose name is `name`, or whose id is `uid` when `name` is empty. */
Status findUser(std::string_view name, uint64_t uid, PasswdEntry* entry, FixedText<256>* home) {
  return forEachLine("/etc/passwd", [&](std::string_view line) {
    const std::string_view lineName = takeField(&line);
    takeField(&line);
    uint64_t lineUid = 0;
    uint64_t lineGid = 0;
    if (!sys::parseUnsigned(takeField(&line), kMaxId, &lineUid)) return true;
    if (!sys::parseUnsigned(takeField(&line), kMaxId, &lineGid)) return true;
    if (lineName.empty() || (name.empty() ? lineUid != uid : lineName != name)) return true;
    takeField(&line);
    *entry = {true, FixedText<64>(lineName), lineUid, lineGid};
    const std::string_view directory = takeField(&line);
    if (directory.starts_with('/')) home->assign(directory);
    return false;
  });
}

Status findGroup(std::string_view name, bool* found, uint64_t* gid) {
  *found = false;
  return forEachLine("/etc/group", [&](std::string_view line) {
    const std::string_view lineName = takeField(&line);
    takeField(&line);
    uint64_t lineGid = 0;
    if (!sys::parseUnsigned(takeField(&line), kMaxId, &lineGid) || lineName != name) return true;
    *found = true;
    *gid = lineGid;
    return false;
  });
}

/** Supplementary groups: those that list the user's name as a member. */
Status findMemberships(std::string_view user, Identity* identity) {
  return forEachLine("/etc/group", [&](std::string_view line) {
    takeField(&line);
    takeField(&line);
    uint64_t gid = 0;
    if (!sys::parseUnsigned(takeField(&line), kMaxId, &gid)) return true;
    std::string_view members = takeField(&line);
    while (!members.empty()) {
      const size_t comma = members.find(',');
      if (members.substr(0, comma) == user) {
        if (identity->groupCount == sizeof identity->groups / sizeof identity->groups[0]) return false;
        identity->groups[identity->groupCount++] = static_cast<gid_t>(gid);
        return true;
      }
      members = comma == std::string_view::npos ? std::string_view() : members.substr(comma + 1);
    }
    return true;
  });
}

bool isNumber(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

Status resolveIdentity(const plan::Process& process, Identity* identity) {
  identity->home.assign("/");
  identity->groupCount = 0;
  PasswdEntry entry;
  if ((process.flags & plan::kProcessImageUser) == 0) {
    identity->uid = process.uid;
    identity->gid = process.gid;
    for (const uint32_t group : process.groups) {
      if (identity->groupCount == sizeof identity->groups / sizeof identity->groups[0]) break;
      identity->groups[identity->groupCount++] = group;
    }
    return findUser({}, process.uid, &entry, &identity->home);
  }
  const std::string_view text = process.imageUser.view();
  const size_t colon = text.find(':');
  const std::string_view user = text.substr(0, colon);
  const bool hasGroup = colon != std::string_view::npos;
  const std::string_view group = hasGroup ? text.substr(colon + 1) : std::string_view();
  // "redis:" and ":redis" are typing errors, not defaults.
  if (hasGroup && (group.empty() || user.empty())) return failure("user", EINVAL, text);

  // A number is an id and never the name of an account that happens to look like one (CVE-2016-3697).
  uint64_t uid = 0;
  if (isNumber(user)) {
    if (!sys::parseUnsigned(user, kMaxId, &uid)) return failure("user", ERANGE, user);
    TRY(findUser({}, uid, &entry, &identity->home));
  } else if (!user.empty()) {
    TRY(findUser(user, 0, &entry, &identity->home));
    if (!entry.found) return failure("user", ENOENT, user);
    uid = entry.uid;
  } else {
    TRY(findUser({}, 0, &entry, &identity->home));
  }
  uint64_t gid = entry.found ? entry.gid : 0;
  if (isNumber(group)) {
    if (!sys::parseUnsigned(group, kMaxId, &gid)) return failure("group", ERANGE, group);
  } else if (hasGroup) {
    bool found = false;
    TRY(findGroup(group, &found, &gid));
    if (!found) return failure("group", ENOENT, group);
  } else if (entry.found) {
    TRY(findMemberships(entry.name.view(), identity));
  }
  identity->uid = static_cast<uid_t>(uid);
  identity->gid = static_cast<gid_t>(gid);
  return Done{};
}

}  // namespace bulkhead::init
