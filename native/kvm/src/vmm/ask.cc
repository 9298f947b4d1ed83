#include "vmm/ask.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

/** A `view` of sixteen devices is shorter. */
constexpr size_t kAnswerBytes = 64 * 1024;

Result<Fd> connectTo(const std::string& path) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return failure("socket", ENAMETOOLONG, path);
  memcpy(address.sun_path, path.data(), path.size());
  Fd fd = TRY(sys::opened("socket", [] { return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0); }));
  const auto* at = reinterpret_cast<const struct sockaddr*>(&address);
  TRY(sys::check(
      "connect", [&] { return connect(fd.get(), at, sizeof address); }, path));
  return fd;
}

/** Files that were made and are not wanted after all. */
class NewFiles {
 public:
  NewFiles() = default;
  NewFiles(const NewFiles&) = delete;
  NewFiles& operator=(const NewFiles&) = delete;
  ~NewFiles() {
    for (const std::string& path : paths_) unlink(path.c_str());
  }
  Result<Fd> make(const std::string& path) {
    // A snapshot is all that a guest knows.
    constexpr mode_t kOwnersOnly = 0600;
    Fd file = TRY(sys::openAt(AT_FDCWD, path.c_str(), O_RDWR | O_CREAT | O_EXCL, kOwnersOnly));
    paths_.push_back(path);
    return file;
  }
  void keep() { paths_.clear(); }

 private:
  std::vector<std::string> paths_;
};

}  // namespace

Result<Answer> ask(const Question& question) {
  const Fd control = TRY(connectTo(question.control));
  NewFiles made;
  std::vector<Fd> files;
  std::vector<int> numbers;
  for (const std::string& path : question.files) {
    files.push_back(TRY(made.make(path)));
    numbers.push_back(files.back().get());
  }
  TRY(sys::sendMessage(control.get(), question.request.data(), question.request.size(), numbers.data(),
                       numbers.size()));
  Answer answer;
  answer.text.resize(kAnswerBytes);
  const long size = sys::retry([&] { return recv(control.get(), answer.text.data(), answer.text.size(), 0); });
  if (size <= 0) return failure("recv", size < 0 ? errno : EPIPE, "the monitor's answer");
  answer.text.resize(static_cast<size_t>(size));
  answer.refused = answer.text.starts_with("{\"error\":");
  if (!answer.refused) made.keep();
  return answer;
}

}  // namespace bulkhead::vm
