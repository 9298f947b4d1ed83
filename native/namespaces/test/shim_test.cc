// The parts of the shim that touch only files: log, lease, process references, small files.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>

#include "init/lease.h"
#include "init/log.h"
#include "init/record.h"
#include "runner.h"
#include "sys/file.h"
#include "sys/procfs.h"

namespace bulkhead {
namespace {

class Directory {
 public:
  Directory() {
    char pattern[] = "/tmp/bulkhead-native-XXXXXX";
    path_ = mkdtemp(pattern);
  }
  ~Directory() {
    for (const char* name : {"log", "log.1", "log.2", "log.3", "lease", "status", "exit"}) {
      unlink((path_ + "/" + name).c_str());
    }
    rmdir(path_.c_str());
  }
  std::string file(const char* name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  std::string read(const char* name) const {
    static char buffer[1 << 20];
    Result<size_t> size = sys::readFile(AT_FDCWD, file(name).c_str(), buffer, sizeof buffer);
    return size.ok() ? std::string(buffer, size.value()) : "(none)";
  }

 private:
  std::string path_;
};

/** The lines without their times. */
std::string shown(const std::string& text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const size_t newline = text.find('\n', at);
    EXPECT(text.size() > at + 31 && text[at + 10] == 'T' && text[at + 29] == 'Z');
    result += text.substr(at + 31, newline - at - 30);
    at = newline + 1;
  }
  return result;
}

TEST(outputBecomesOneLineEachAndPiecesKeepTheirBytes) {
  const Directory directory;
  init::LogFile log;
  EXPECT(log.open(directory.file("log").c_str(), 1 << 20, 2).ok());
  static char buffer[init::kMaxPieceBytes];
  init::LogStream stream("stdout", buffer);
  Result<sys::Pair> pipe = sys::pipePair();
  const std::string text = "one\n\ntwo\nthr";
  EXPECT(write(pipe.value().right.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  EXPECT(stream.pump(pipe.value().left.get(), &log) == init::LogStream::State::more);
  EXPECT_TEXT(shown(directory.read("log")), "stdout F one\nstdout F \nstdout F two\n");
  pipe.value().right.reset();
  EXPECT(stream.pump(pipe.value().left.get(), &log) == init::LogStream::State::ended);
  stream.flush(&log);
  EXPECT_TEXT(shown(directory.read("log")), "stdout F one\nstdout F \nstdout F two\nstdout P thr\n");
}

TEST(aLongLineIsCutIntoPieces) {
  const Directory directory;
  init::LogFile log;
  EXPECT(log.open(directory.file("log").c_str(), 1 << 20, 2).ok());
  static char buffer[init::kMaxPieceBytes];
  init::LogStream stream("stderr", buffer);
  Result<sys::Pair> pipe = sys::pipePair();
  const std::string text = std::string(init::kMaxPieceBytes + 5, 'x') + "\n";
  EXPECT(write(pipe.value().right.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  stream.pump(pipe.value().left.get(), &log);
  stream.pump(pipe.value().left.get(), &log);
  EXPECT_TEXT(shown(directory.read("log")),
              "stderr P " + std::string(init::kMaxPieceBytes, 'x') + "\nstderr F xxxxx\n");
}

TEST(rotationKeepsTheNewestFilesAndNoMore) {
  const Directory directory;
  init::LogFile log;
  EXPECT(log.open(directory.file("log").c_str(), 100, 3).ok());
  for (int line = 0; line < 9; ++line) log.append("stdout", true, "line " + std::to_string(line));
  EXPECT_TEXT(shown(directory.read("log")), "stdout F line 8\n");
  EXPECT_TEXT(shown(directory.read("log.1")), "stdout F line 6\nstdout F line 7\n");
  EXPECT_TEXT(shown(directory.read("log.2")), "stdout F line 4\nstdout F line 5\n");
  EXPECT_TEXT(directory.read("log.3"), "(none)");
}

TEST(aFullDiskDropsWholeLinesAndCountsThem) {
  const Directory directory;
  init::LogFile log;
  EXPECT(log.open(directory.file("log").c_str(), 1 << 20, 2).ok());
  const auto before = signal(SIGXFSZ, SIG_IGN);
  struct rlimit old;
  getrlimit(RLIMIT_FSIZE, &old);
  // The same errors as a full disk gives: first a short write, then none.
  const struct rlimit small = {100, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  log.append("stdout", true, "fits");
  log.append("stdout", true, std::string(200, 'y'));
  log.append("stdout", true, std::string(200, 'z'));
  setrlimit(RLIMIT_FSIZE, &old);
  signal(SIGXFSZ, before);
  log.append("stdout", true, "again");
  EXPECT(log.droppedLines() == 2);
  EXPECT_TEXT(shown(directory.read("log")), "stdout F fits\nstdout F again\n");
}

TEST(aLogThatIsALinkIsRefused) {
  const Directory directory;
  EXPECT(symlink("/etc/passwd", directory.file("log").c_str()) == 0);
  init::LogFile log;
  Status opened = log.open(directory.file("log").c_str(), 1 << 20, 2);
  EXPECT(!opened.ok() && opened.error().err == ELOOP);
}

struct Page {
  uint64_t magic;
  uint64_t renewedAtBoottimeNs;
  uint64_t term;
};

uint64_t boottimeNs() {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void writePage(const std::string& path, const Page& page) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT, 0600);
  EXPECT(pwrite(fd, &page, sizeof page, 0) == sizeof page);
  close(fd);
}

bool fires(const init::Lease& lease, int withinMs) {
  struct pollfd slot = {lease.timer(), POLLIN, 0};
  return poll(&slot, 1, withinMs) == 1;
}

TEST(aLeaseEndsUnlessItWasRenewedMeanwhile) {
  const Directory directory;
  const std::string path = directory.file("lease");
  writePage(path, {init::kLeaseMagic, boottimeNs(), 1});
  init::Lease lease;
  EXPECT(lease.open(path.c_str(), 60).ok());
  writePage(path, {init::kLeaseMagic, boottimeNs() + 60'000'000, 1});
  EXPECT(fires(lease, 5000));
  EXPECT(!lease.expired());
  EXPECT(fires(lease, 5000));
  EXPECT(lease.expired());
}

TEST(aLeasePageThatProvesNothingHasExpired) {
  const Directory directory;
  const std::string path = directory.file("lease");
  init::Lease wrong;
  writePage(path, {42, boottimeNs(), 1});
  Status opened = wrong.open(path.c_str(), 1000);
  EXPECT(!opened.ok() && opened.error().err == ENOMSG);
  writePage(path, {init::kLeaseMagic, boottimeNs(), 1});
  init::Lease lease;
  EXPECT(lease.open(path.c_str(), 1).ok());
  EXPECT(truncate(path.c_str(), 8) == 0);
  EXPECT(fires(lease, 5000));
  EXPECT(lease.expired());
}

TEST(aReusedPidIsAnotherProcess) {
  Result<uint64_t> ticks = sys::startTicks(getpid());
  EXPECT(ticks.ok());
  EXPECT(sys::openProcess({getpid(), ticks.value()}).ok());
  Result<Fd> other = sys::openProcess({getpid(), ticks.value() + 1});
  EXPECT(!other.ok() && other.error().err == ESRCH);
}

TEST(recordsAreReplacedWhole) {
  const Directory directory;
  Result<Fd> fd = sys::openAt(AT_FDCWD, directory.path().c_str(), O_RDONLY | O_DIRECTORY);
  init::ExitFile exit;
  EXPECT(exit.reserve(fd.value().get()).ok());
  EXPECT(exit.write(fd.value().get(), {-1, 9, true, false, 5, 6, 7}).ok());
  // Blanks follow, up to the end of the space that was reserved.
  const std::string record = directory.read("exit");
  EXPECT_TEXT(record.substr(0, record.find('\n') + 1),
              "{\"exitCode\":null,\"signal\":9,\"oomKilled\":true,\"leaseExpired\":false,\"startedAtUnixMs\":5,"
              "\"finishedAtUnixMs\":6,\"droppedLogLines\":7}\n");
  EXPECT(init::writeStatus(fd.value().get(), {{1, 2}, {3, 4}, 5}).ok());
  EXPECT_TEXT(directory.read("status"),
              "{\"shim\":{\"pid\":1,\"startTicks\":2},\"init\":{\"pid\":3,\"startTicks\":4},\"startedAtUnixMs\":5}\n");
}

TEST(numbersAreParsedStrictly) {
  uint64_t value = 0;
  EXPECT(sys::parseUnsigned("18446744073709551615", UINT64_MAX, &value) && value == UINT64_MAX);
  for (const char* text : {"", "-1", "+1", " 1", "1 ", "0x1", "18446744073709551616", "99999999999999999999"}) {
    EXPECT_THAT(!sys::parseUnsigned(text, UINT64_MAX, &value), text);
  }
}

}  // namespace
}  // namespace bulkhead
