// bulkhead-init as a function: makes one container (or one process in it) from a plan, and stays as its shim.
#pragma once

#include <string_view>
#include <utility>

#include "sys/fd.h"

namespace bulkhead::init {

/** A plan's bytes, as long as this lives; none when the file is no plan or its sender could still change it. */
class MappedPlan {
 public:
  MappedPlan() = default;
  explicit MappedPlan(int file);
  MappedPlan(MappedPlan&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedPlan& operator=(MappedPlan&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedPlan();
  std::string_view bytes() const { return bytes_; }

 private:
  std::string_view bytes_;
};

/** The file of the plan that the next message brings; invalid at end of file. */
Fd receivePlan(int socket);

/**
 * `argv`: "serve" (server.h), "hold" (inside a container, for namespaces that others share), or "container" or "exec"
 * for one of them at once, then "exact" when the caller left no other descriptor open. The exit status.
 */
int runInit(int argc, char** argv);

}  // namespace bulkhead::init
