#include "vmm/ask.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "snapshot/frame_receiver.h"
#include "sys/retry.h"
#include "sys/syscalls.h"
#include "vmm/named_file.h"

namespace bulkhead::vm {
namespace {

/** A `view` of sixteen devices is shorter. */
constexpr size_t kAnswerBytes = 64 * 1024;

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
    Fd file = TRY(sys::openAt(AT_FDCWD, path.c_str(), O_WRONLY | O_CREAT | O_EXCL, kOwnersOnly));
    paths_.push_back(path);
    return file;
  }
  void keep() { paths_.clear(); }

 private:
  std::vector<std::string> paths_;
};

/** The reading end of a pipe whose writing end went to the monitor. */
Result<Fd> sendRequest(const Fd& control, const Question& question) {
  if (question.files.empty()) {
    TRY(sys::sendMessage(control.get(), question.request.data(), question.request.size()));
    return Fd();
  }
  sys::Pair pipe = TRY(sys::pipePair());
  // The monitor's side may not wait without end, and it can change no flag itself.
  TRY(sys::check("fcntl", [&] { return fcntl(pipe.right.get(), F_SETFL, O_NONBLOCK); }));
  // A smaller one is only slower.
  (void)fcntl(pipe.right.get(), F_SETPIPE_SZ, kMaxFrameBytes);
  const int passed = pipe.right.get();
  TRY(sys::sendMessage(control.get(), question.request.data(), question.request.size(), &passed, 1));
  return std::move(pipe.left);
}

Result<Answer> hear(const Fd& control, int patienceMs) {
  struct pollfd ready = {control.get(), POLLIN, 0};
  if (sys::retry([&] { return poll(&ready, 1, patienceMs); }) == 0) {
    return failure("recv", ETIMEDOUT, "the monitor's answer");
  }
  Answer answer;
  answer.text.resize(kAnswerBytes);
  const long size = sys::retry([&] { return recv(control.get(), answer.text.data(), answer.text.size(), 0); });
  if (size <= 0) return failure("recv", size < 0 ? errno : EPIPE, "the monitor's answer");
  answer.text.resize(static_cast<size_t>(size));
  answer.refused = answer.text.starts_with("{\"error\":");
  if (answer.text.starts_with("{\"error\":\"unknown request")) {
    return failure("monitor", ENOTSUP, "it is of another version; start its machine again to have one of this");
  }
  return answer;
}

}  // namespace

Result<Answer> ask(const Question& question) {
  const Fd control = TRY(connectTo(question.control, SOCK_SEQPACKET));
  NewFiles made;
  SnapshotFiles files;
  if (!question.files.empty()) {
    files.state = TRY(made.make(question.files[0]));
    files.memory = TRY(made.make(question.files[1]));
  }
  Fd frames = TRY(sendRequest(control, question));
  if (!frames.valid()) return hear(control, question.patienceMs);
  const Status received = FrameReceiver(std::move(frames), files, question.memoryBytes, question.patienceMs).receive();
  // A monitor that ends too early says why.
  if (!received.ok() && received.error().err != EPIPE) return received.error();
  Answer answer = TRY(hear(control, question.patienceMs));
  if (answer.refused) return answer;
  TRY(Status(received));
  made.keep();
  return answer;
}

}  // namespace bulkhead::vm
