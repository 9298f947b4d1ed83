#include "oci/handover.h"

#include <fcntl.h>

#include <algorithm>

#include "oci/document.h"
#include "oci/gate_socket.h"
#include "plan/plan.h"
#include "sys/file.h"

namespace bulkhead::oci {
namespace {

/** One descriptor and a word about it, over the stream socket at `path`. */
Status sendOver(const std::string& path, std::string_view word, const Fd& passed) {
  Fd socket = TRY(connectStream(path.c_str()));
  const int fd = passed.get();
  return sys::sendMessage(socket.get(), word.data(), word.size(), &fd, 1);
}

}  // namespace

rapidjson::Value writableValue(const rapidjson::Value& spec, rapidjson::Document* document) {
  constexpr const char* kAnnotation = "org.bulkhead.writable";
  const auto annotations = spec.FindMember("annotations");
  if (annotations == spec.MemberEnd() || !annotations->value.IsObject() || !annotations->value.HasMember(kAnnotation)) {
    return {};
  }
  rapidjson::Value list(rapidjson::kArrayType);
  const std::string text = textMember(annotations->value, kAnnotation);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(':', begin), text.size());
    list.PushBack(textValue(text.substr(begin, end - begin), document), document->GetAllocator());
    begin = end + 1;
  }
  return list;
}

bool writePidFile(Session* session, const std::string& path, pid_t pid) {
  const size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Result<Fd> directory = sys::openAt(AT_FDCWD, parent.c_str(), O_RDONLY | O_DIRECTORY);
  if (!directory.ok()) return session->fail("pid file", directory.error());
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  Status written = sys::replaceFile(directory.value().get(), name.c_str(), std::to_string(pid));
  return written.ok() ? true : session->fail("pid file", written.error());
}

bool sendTerminal(Session* session, const std::string& path, const Fd& master) {
  // The text is the master's name, which receivers show.
  Status sent = sendOver(path, "/dev/ptmx", master);
  return sent.ok() ? true : session->fail("console socket", sent.error());
}

bool sendPidfd(Session* session, const std::string& path, const sys::ProcessRef& process) {
  if (path.empty()) return true;
  Result<Fd> pidfd = sys::openProcess(process);
  Status sent = pidfd.ok() ? sendOver(path, "pidfd", pidfd.value()) : Status(pidfd.error());
  return sent.ok() ? true : session->fail("pidfd socket", sent.error());
}

rapidjson::Value identityValue(const std::string& id, const std::string& bundle, rapidjson::Document* document) {
  rapidjson::Value value(rapidjson::kObjectType);
  setMember(&value, "id", textValue(id, document), document);
  setMember(&value, "bundle", textValue(bundle, document), document);
  return value;
}

bool countPreservedFds(Session* session, const std::string& asked, int* count) {
  uint64_t number = 0;
  if (!asked.empty() && !sys::parseUnsigned(asked, plan::kMaxPreservedFds, &number)) {
    return session->fail("--preserve-fds must be from 0 to 128");
  }
  for (uint64_t index = 0; index < number; ++index) {
    if (fcntl(static_cast<int>(3 + index), F_GETFD) < 0) {
      return session->fail("--preserve-fds: descriptor " + std::to_string(3 + index) + " is not open");
    }
  }
  *count = static_cast<int>(number);
  return true;
}

}  // namespace bulkhead::oci
