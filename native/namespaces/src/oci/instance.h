// What is kept of one container between two runs of the command line: a directory below the root, and its lock.
#pragma once

#include <rapidjson/document.h>
#include <sys/types.h>

#include <string>
#include <string_view>

#include "cgroup/control.h"
#include "oci/session.h"
#include "sys/fd.h"
#include "sys/procfs.h"

namespace bulkhead::oci {

enum class Phase { creating, created, running, paused, stopped };
const char* phaseName(Phase phase);

/** The socket at which a created container waits, and its name until the container is ready to be started. */
inline constexpr const char* kGate = "gate";
inline constexpr const char* kClosedGate = "gate.closed";

/** The directory ROOT/ID: `record` (ours), `config.json` (a copy of the bundle's), `status` (init's), `gate` (a
 * socket). */
class Instance {
 public:
  explicit Instance(Session* session) : session_(session) {}

  /** A new container; fails when the id is taken or is none. Locked until this object ends. */
  bool create(const std::string& id);
  /** An existing one, not locked. */
  bool open(const std::string& id);
  /** Waits for whoever works on it; fails when it was deleted meanwhile. */
  bool lock();
  /** Its directory and everything in it goes. */
  bool remove();

  bool writeRecord(const rapidjson::Document& record, std::string_view config);
  /** Reads the record; absent when a runtime was killed before it was written. */
  bool readRecord();
  bool hasRecord() const { return record_.IsObject(); }
  const rapidjson::Document& record() const { return record_; }
  bool readConfig(rapidjson::Document* config);
  cgroup::Paths cgroups() const;
  /** Its systemd scope; empty: it has none. */
  std::string unit() const;

  /** What the kernel says now; `process` has pid 0 when there is none. */
  Phase phase();
  const sys::ProcessRef& process() const { return process_; }
  /** The state of the runtime specification; `pid` 0 leaves it out as the specification wants for "stopped". */
  rapidjson::Document state(Phase phase) const;
  /** A file with the state's JSON, as hooks and gates get it. */
  Result<Fd> stateFile(Phase phase) const;

  const std::string& id() const { return id_; }
  int directory() const { return directory_.get(); }
  std::string path() const { return session_->root + "/" + id_; }
  void setProcess(const sys::ProcessRef& process) { process_ = process; }

 private:
  bool locked();

  Session* session_;
  std::string id_;
  Fd directory_;
  rapidjson::Document record_;
  sys::ProcessRef process_ = {};
};

/** As the specification and the engines that use it have it: a letter, digit or '_', then those, '+', '-', '.'. */
bool validId(std::string_view id);

}  // namespace bulkhead::oci
