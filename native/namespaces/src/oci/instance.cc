#include "oci/instance.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "oci/document.h"
#include "sys/file.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::oci {
namespace {

constexpr const char* kRecord = "record";
constexpr const char* kConfig = "config.json";
// NAME_MAX leaves room for nothing else; cgroups carry the id too.
constexpr size_t kMaxIdBytes = 255;

/** flock(2); its header is hidden by ours of the same name. */
long lockFile(int fd, int operation) {
  return syscall(SYS_flock, fd, operation);
}

bool makeRoot(Session* session) {
  for (size_t slash = session->root.find('/', 1);; slash = session->root.find('/', slash + 1)) {
    const std::string part = session->root.substr(0, slash);
    Status made = sys::makeDirectoryAt(AT_FDCWD, part.c_str(), 0711);
    if (!made.ok() && made.error().err != EEXIST) return session->fail("cannot make the root directory", made.error());
    if (slash == std::string::npos) return true;
  }
}

}  // namespace

const char* phaseName(Phase phase) {
  switch (phase) {
    case Phase::creating:
      return "creating";
    case Phase::created:
      return "created";
    case Phase::running:
      return "running";
    case Phase::paused:
      return "paused";
    case Phase::stopped:
      return "stopped";
  }
  return "stopped";
}

bool validId(std::string_view id) {
  if (id.empty() || id.size() > kMaxIdBytes || id[0] == '.') return false;
  for (const char byte : id) {
    const bool word = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
    if (!word && memchr("_+-.", byte, 4) == nullptr) return false;
  }
  return true;
}

bool Instance::create(const std::string& id) {
  if (!validId(id)) return session_->fail("container id \"" + id + "\" is not of [a-zA-Z0-9_+-.]");
  if (!makeRoot(session_)) return false;
  id_ = id;
  Status made = sys::makeDirectoryAt(AT_FDCWD, path().c_str(), 0711);
  if (!made.ok() && made.error().err == EEXIST) return session_->fail("container with id " + id + " exists already");
  if (!made.ok()) return session_->fail("cannot make the state directory", made.error());
  Result<Fd> opened = sys::openAt(AT_FDCWD, path().c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (opened.ok()) directory_ = opened.take();
  if (opened.ok() ? lock() : session_->fail("cannot open the state directory", opened.error())) return true;
  // One that was deleted meanwhile may have given way to another of that name.
  Result<struct stat> status = sys::statusOf(directory_.get());
  const bool deleted = status.ok() && status.value().st_nlink == 0;
  if (!deleted) (void)sys::removeAt(AT_FDCWD, path().c_str(), AT_REMOVEDIR).ok();
  return false;
}

bool Instance::open(const std::string& id) {
  if (!validId(id)) return session_->fail("container id \"" + id + "\" is not of [a-zA-Z0-9_+-.]");
  id_ = id;
  Result<Fd> opened = sys::openAt(AT_FDCWD, path().c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!opened.ok() && opened.error().err == ENOENT) return session_->fail("container does not exist: " + id);
  if (!opened.ok()) return session_->fail("cannot open the state directory", opened.error());
  directory_ = opened.take();
  return readRecord();
}

bool Instance::lock() {
  if (sys::retry([&] { return lockFile(directory_.get(), LOCK_EX); }) < 0) {
    return session_->fail("cannot lock the state directory", failure("flock", errno));
  }
  Result<struct stat> status = sys::statusOf(directory_.get());
  // Whoever held the lock may have deleted it; a directory without a name has no links.
  if (!status.ok() || status.value().st_nlink == 0) return session_->fail("container does not exist: " + id_);
  // Whoever held it may have written the record, which nobody writes again.
  return hasRecord() || readRecord();
}

bool Instance::locked() {
  if (lockFile(directory_.get(), LOCK_SH | LOCK_NB) < 0) return true;
  lockFile(directory_.get(), LOCK_UN);
  return false;
}

bool Instance::remove() {
  Result<Fd> again = sys::openAt(directory_.get(), ".", O_RDONLY | O_DIRECTORY);
  if (!again.ok()) return session_->fail("cannot remove the state directory", again.error());
  DIR* listing = fdopendir(again.value().get());
  if (listing == nullptr) return session_->fail("cannot remove the state directory", failure("fdopendir", errno));
  again.value().release();
  while (const struct dirent* entry = readdir(listing)) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    (void)sys::removeAt(directory_.get(), entry->d_name, 0).ok();
  }
  closedir(listing);
  Status removed = sys::removeAt(AT_FDCWD, path().c_str(), AT_REMOVEDIR);
  if (removed.ok() || removed.error().err == ENOENT) return true;
  return session_->fail("cannot remove the state directory", removed.error());
}

bool Instance::writeRecord(const rapidjson::Document& record, std::string_view config) {
  Status written = sys::replaceFile(directory_.get(), kConfig, config);
  if (written.ok()) written = sys::replaceFile(directory_.get(), kRecord, toText(record, false));
  if (!written.ok()) return session_->fail("cannot write the state", written.error());
  record_.CopyFrom(record, record_.GetAllocator());
  return true;
}

bool Instance::readRecord() {
  std::string text;
  Session quiet;
  if (readText(&quiet, directory_.get(), kRecord, &text)) return parseText(session_, "state", text, &record_);
  // It has not come so far yet, or somebody is deleting it.
  Result<struct stat> there = sys::statusAt(directory_.get(), kRecord, AT_SYMLINK_NOFOLLOW);
  return (!there.ok() && there.error().err == ENOENT) || session_->fail(quiet.failure());
}

bool Instance::readConfig(rapidjson::Document* config) {
  std::string text;
  return readText(session_, directory_.get(), kConfig, &text) && parseText(session_, "config.json", text, config);
}

cgroup::Paths Instance::cgroups() const {
  cgroup::Paths paths;
  if (!hasRecord() || !record_.HasMember("cgroups")) return paths;
  for (const auto& entry : record_["cgroups"].GetObject()) {
    paths.entries.emplace_back(entry.name.GetString(), entry.value.GetString());
  }
  return paths;
}

std::string Instance::unit() const {
  return textMember(record_, "systemdUnit");
}

Phase Instance::phase() {
  process_ = {};
  std::string text;
  rapidjson::Document status;
  Session quiet;
  if (!readText(&quiet, directory_.get(), "status", &text) || !parseText(&quiet, "status", text, &status)) {
    return locked() ? Phase::creating : Phase::stopped;
  }
  const sys::ProcessRef wanted = {static_cast<pid_t>(status["init"]["pid"].GetInt()),
                                  status["init"]["startTicks"].GetUint64()};
  Result<Fd> process = sys::openProcess(wanted);
  if (!process.ok()) return Phase::stopped;
  // A pidfd is readable once its process has ended, reaped or not.
  struct pollfd slot = {process.value().get(), POLLIN, 0};
  if (sys::retry([&] { return poll(&slot, 1, 0); }) != 0) return Phase::stopped;
  process_ = wanted;
  if (faccessat(directory_.get(), kGate, F_OK, 0) == 0) return Phase::created;
  if (faccessat(directory_.get(), kClosedGate, F_OK, 0) == 0) return Phase::creating;
  Result<bool> paused = cgroup::frozen(cgroups());
  return paused.ok() && paused.value() ? Phase::paused : Phase::running;
}

rapidjson::Document Instance::state(Phase phase) const {
  rapidjson::Document state(rapidjson::kObjectType);
  auto& allocator = state.GetAllocator();
  const auto copy = [&](const char* name) {
    rapidjson::Value value;
    if (hasRecord() && record_.HasMember(name)) value.CopyFrom(record_[name], allocator);
    return value;
  };
  setMember(&state, "ociVersion", hasRecord() ? copy("ociVersion") : textValue("1.0.2", &state), &state);
  setMember(&state, "id", textValue(id_, &state), &state);
  setMember(&state, "status", textValue(phaseName(phase), &state), &state);
  setMember(&state, "pid", rapidjson::Value(phase == Phase::stopped ? 0 : process_.pid), &state);
  if (!hasRecord()) return state;
  for (const char* name : {"bundle", "rootfs", "created", "annotations"}) setMember(&state, name, copy(name), &state);
  return state;
}

Result<Fd> Instance::stateFile(Phase phase) const {
  Fd file = TRY(sys::memoryFile("container-state", 0));
  const std::string text = toText(state(phase), false);
  TRY(sys::writeAll(file.get(), text.data(), text.size()));
  if (lseek(file.get(), 0, SEEK_SET) < 0) return failure("lseek", errno);
  return file;
}

}  // namespace bulkhead::oci
