// OCI resources (written for cgroup v1) as writes for v1 and, converted, for v2.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "plan/context.h"

namespace bulkhead::plan {

/**
 * Collects writes in the order the kernel wants them, in the notation of plan::CgroupWrite.
 */
class CgroupWrites {
 public:
  struct Entry {
    std::string_view controller;
    std::string file;
    std::string value;
  };

  CgroupWrites(Context* context, bool unified) : context_(context), unified_(unified) {}

  bool compile(const View& resources);
  const std::vector<Entry>& entries() const { return entries_; }
  /** cgroup v2: what decides about devices; empty when nothing was said of them. */
  const std::vector<uint64_t>& deviceProgram() const { return deviceProgram_; }
  bool checksBeforeUpdate() const { return checksBeforeUpdate_; }

 private:
  bool memory(const View& part);
  bool cpu(const View& part);
  bool cpuset(const View& part);
  bool pids(const View& part);
  bool io(const View& part);
  bool throttle(const View& part, const char* name, const char* fileV1, const char* keyV2);
  bool weightDevices(const View& part);
  bool devices(const View& part);
  bool network(const View& part);
  bool rdma(const View& part);
  bool hugepages(const View& part);
  bool unifiedFiles(const View& part);
  void add(std::string_view controller, std::string file, std::string value) {
    entries_.push_back({controller, std::move(file), std::move(value)});
  }

  Context* context_;
  bool unified_;
  std::vector<Entry> entries_;
  std::vector<uint64_t> deviceProgram_;
  bool checksBeforeUpdate_ = false;
};

/** cpu.weight for cpu.shares, the curve of runtime-spec 1.3: 1024 shares are weight 100. 0 stays 0 (unset). */
uint64_t weightForShares(uint64_t shares);

}  // namespace bulkhead::plan
