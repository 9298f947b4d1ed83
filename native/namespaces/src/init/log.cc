#include "init/log.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

/** "2026-11-23T10:00:00" in UTC. Not gmtime: that reads time zone files into memory which every shim would keep. */
void formatSecond(int64_t second, char* text, size_t capacity) {
  constexpr int64_t kDaySeconds = 86'400;
  // Counted from 0000-03-01, so that the leap day is the last of its year: 400 years are 146,097 days.
  const int64_t days = second / kDaySeconds + 719'468;
  const int64_t inDay = second % kDaySeconds;
  const int64_t era = days / 146'097;
  const int64_t dayOfEra = days % 146'097;
  const int64_t yearOfEra = (dayOfEra - dayOfEra / 1'460 + dayOfEra / 36'524 - dayOfEra / 146'096) / 365;
  const int64_t dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  // March to February in a pattern of 153 days per five months.
  const int64_t month = (5 * dayOfYear + 2) / 153;
  const int64_t day = dayOfYear - (153 * month + 2) / 5 + 1;
  const int64_t calendarMonth = month < 10 ? month + 3 : month - 9;
  const int64_t year = era * 400 + yearOfEra + (calendarMonth <= 2 ? 1 : 0);
  snprintf(text, capacity, "%04d-%02d-%02dT%02d:%02d:%02d", static_cast<int>(year % 10'000),
           static_cast<int>(calendarMonth), static_cast<int>(day), static_cast<int>(inDay / 3'600),
           static_cast<int>(inDay / 60 % 60), static_cast<int>(inDay % 60));
}

}  // namespace

Status LogFile::open(const char* path, uint64_t maxBytes, uint32_t maxFiles) {
  const std::string_view text(path);
  const size_t slash = text.rfind('/');
  const std::string_view name = text.substr(slash + 1);
  // Room for ".99" and a temporary look at the longest name.
  if (slash == std::string_view::npos || name.empty() || name.size() > 240) return failure("openat", EINVAL, path);
  char directory[4096];
  if (slash >= sizeof directory) return failure("openat", ENAMETOOLONG, path);
  memcpy(directory, path, slash);
  directory[slash] = '\0';
  directory_ = TRY(sys::openAt(AT_FDCWD, slash == 0 ? "/" : directory, O_RDONLY | O_DIRECTORY));
  name_.assign(name);
  maxBytes_ = maxBytes;
  maxFiles_ = maxFiles;
  return reopen();
}

Status LogFile::reopen() {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  file_ = TRY(sys::openAt(directory_.get(), name_.c_str(), kFlags, 0640));
  const struct stat status = TRY(sys::statusOf(file_.get()));
  if (!S_ISREG(status.st_mode)) return failure("openat", EINVAL, name_.view());
  size_ = static_cast<uint64_t>(status.st_size);
  return Done{};
}

void LogFile::rotate() {
  char from[300];
  char to[300];
  for (uint32_t number = maxFiles_ - 1; number > 0; --number) {
    snprintf(to, sizeof to, "%s.%u", name_.c_str(), number);
    if (number == 1) {
      snprintf(from, sizeof from, "%s", name_.c_str());
    } else {
      snprintf(from, sizeof from, "%s.%u", name_.c_str(), number - 1);
    }
    (void)sys::renameAt(directory_.get(), from, to).ok();
  }
  if (maxFiles_ == 1) (void)sys::removeAt(directory_.get(), name_.c_str(), 0).ok();
  // On failure the old file stays open and grows: output matters more than the bound.
  Fd old = std::move(file_);
  if (!reopen().ok()) {
    file_ = std::move(old);
    size_ = 0;
  }
}

size_t LogFile::prefix(char* buffer, size_t capacity, std::string_view stream, bool whole) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (now.tv_sec != second_) {
    formatSecond(now.tv_sec, date_, sizeof date_);
    second_ = now.tv_sec;
  }
  const int size = snprintf(buffer, capacity, "%s.%09ldZ %.*s %c ", date_, now.tv_nsec, static_cast<int>(stream.size()),
                            stream.data(), whole ? 'F' : 'P');
  return static_cast<size_t>(size);
}

void LogFile::append(std::string_view stream, bool whole, std::string_view text) {
  char head[64];
  const size_t headSize = prefix(head, sizeof head, stream, whole);
  const size_t total = headSize + text.size() + 1;
  if (size_ > 0 && size_ + total > maxBytes_) rotate();
  char newline = '\n';
  struct iovec parts[3] = {{head, headSize}, {const_cast<char*>(text.data()), text.size()}, {&newline, 1}};
  const ssize_t written = writev(file_.get(), parts, 3);
  if (written == static_cast<ssize_t>(total)) {
    size_ += total;
    return;
  }
  ++dropped_;
  // Half a line would make the next one unreadable; the file ends where it did.
  if (written > 0) (void)ftruncate(file_.get(), static_cast<off_t>(size_));
}

LogStream::State LogStream::pump(int pipe, LogFile* log) {
  const ssize_t count = read(pipe, buffer_ + held_, kMaxPieceBytes - held_);
  if (count < 0) return errno == EAGAIN || errno == EINTR ? State::drained : State::ended;
  if (count == 0) return State::ended;
  held_ += static_cast<size_t>(count);
  char* start = buffer_;
  char* const end = buffer_ + held_;
  while (char* newline = static_cast<char*>(memchr(start, '\n', static_cast<size_t>(end - start)))) {
    log->append(name_, true, {start, static_cast<size_t>(newline - start)});
    start = newline + 1;
  }
  held_ = static_cast<size_t>(end - start);
  if (held_ == kMaxPieceBytes) {
    flush(log);
  } else if (start != buffer_) {
    memmove(buffer_, start, held_);
  }
  return State::more;
}

void LogStream::flush(LogFile* log) {
  if (held_ > 0) log->append(name_, false, {buffer_, held_});
  held_ = 0;
}

}  // namespace bulkhead::init
