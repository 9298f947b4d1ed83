#include "init/watch.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "init/privileges.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

enum Source : uint32_t { kProcess, kOutput, kError, kLease };

// Zero pages until a stream first speaks.
char outputBuffer[kMaxPieceBytes];
char errorBuffer[kMaxPieceBytes];

Status add(int epoll, int fd, Source source) {
  struct epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u32 = source;
  if (fd < 0) return Done{};
  return sys::check("epoll_ctl", [&] { return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event); });
}

/** What is left in a pipe once its writers are dead; bounded, for another process may hold the write end. */
void drain(int pipe, LogStream* stream, LogFile* log) {
  // A pipe holds at most /proc/sys/fs/pipe-max-size, 1 MiB.
  for (int reads = 0; reads < 256; ++reads) {
    if (stream->pump(pipe, log) != LogStream::State::more) break;
  }
  stream->flush(log);
}

void pumpOrClose(LogStream* stream, Fd* pipe, LogFile* log) {
  if (stream->pump(pipe->get(), log) != LogStream::State::ended) return;
  stream->flush(log);
  pipe->reset();
}

}  // namespace

uint64_t readCounter(int file, std::string_view key) {
  char text[1024];
  const long size = sys::retry([&] { return pread(file, text, sizeof text - 1, 0); });
  if (size <= 0) return 0;
  text[size] = '\0';
  for (const char* line = text; line != nullptr; line = strchr(line, '\n')) {
    if (*line == '\n') ++line;
    if (strncmp(line, key.data(), key.size()) == 0 && line[key.size()] == ' ') {
      return strtoull(line + key.size() + 1, nullptr, 10);
    }
  }
  return 0;
}

Status prepareWatch(Watched* watched) {
  watched->sources = TRY(sys::opened("epoll_create1", [&] { return epoll_create1(EPOLL_CLOEXEC); }));
  const int epoll = watched->sources.get();
  TRY(add(epoll, watched->process.get(), kProcess));
  TRY(add(epoll, watched->output.get(), kOutput));
  TRY(add(epoll, watched->error.get(), kError));
  TRY(add(epoll, watched->lease.timer(), kLease));
  return watched->exitFile.reserve(watched->runDirectory.get());
}

ExitRecord watch(Watched* watched) {
  trimStack();
  LogStream output("stdout", outputBuffer);
  LogStream error("stderr", errorBuffer);
  bool leaseExpired = false;
  for (bool running = true; running;) {
    struct epoll_event events[4];
    const int count = epoll_wait(watched->sources.get(), events, 4, -1);
    for (int index = 0; index < count; ++index) {
      switch (static_cast<Source>(events[index].data.u32)) {
        case kOutput:
          pumpOrClose(&output, &watched->output, &watched->log);
          break;
        case kError:
          pumpOrClose(&error, &watched->error, &watched->log);
          break;
        case kLease:
          if (!leaseExpired && watched->lease.expired()) {
            leaseExpired = true;
            epoll_ctl(watched->sources.get(), EPOLL_CTL_DEL, watched->lease.timer(), nullptr);
            (void)sys::signalPid(watched->process.get(), SIGKILL).ok();
          }
          break;
        case kProcess:
          running = false;
          break;
      }
    }
  }
  const uint64_t finishedAtUnixMs = unixMs();
  if (watched->killSwitch.valid()) (void)write(watched->killSwitch.get(), "1", 1);
  if (watched->output.valid()) drain(watched->output.get(), &output, &watched->log);
  if (watched->error.valid()) drain(watched->error.get(), &error, &watched->log);
  Result<sys::Ended> ended = sys::reap(watched->process.get(), true);
  ExitRecord record = {};
  record.code = -1;
  record.signal = SIGKILL;
  if (ended.ok()) {
    const bool exited = ended.value().code == CLD_EXITED;
    record.code = exited ? ended.value().status : -1;
    record.signal = exited ? 0 : ended.value().status;
  }
  // A worker that was killed for memory in a container that then ended well is no reason for its end.
  const bool failed = record.code != 0;
  record.oomKilled = failed && watched->oomCounter.valid() && readCounter(watched->oomCounter.get(), "oom_kill") > 0;
  record.leaseExpired = leaseExpired;
  record.startedAtUnixMs = watched->startedAtUnixMs;
  record.finishedAtUnixMs = finishedAtUnixMs;
  record.droppedLogLines = watched->log.droppedLines();
  (void)watched->exitFile.write(watched->runDirectory.get(), record).ok();
  return record;
}

}  // namespace bulkhead::init
