#include "cgroup/device_filter.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "sys/fd.h"

namespace bulkhead::cgroup {
namespace {

long bpf(int command, union bpf_attr* attributes) {
  return syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

Result<Fd> load(const Span<uint64_t>& program) {
  union bpf_attr attributes = {};
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insns = reinterpret_cast<uint64_t>(program.data);
  attributes.insn_cnt = program.count;
  attributes.license = reinterpret_cast<uint64_t>("Apache-2.0");
  const long fd = bpf(BPF_PROG_LOAD, &attributes);
  if (fd < 0) return failure("bpf BPF_PROG_LOAD", errno, "devices");
  return Fd(static_cast<int>(fd));
}

/** The only program of the cgroup itself; none when it has no or several. */
Result<Fd> attached(int directory) {
  uint32_t ids[64];  // BPF_CGROUP_MAX_PROGS
  union bpf_attr attributes = {};
  attributes.query.target_fd = static_cast<uint32_t>(directory);
  attributes.query.attach_type = BPF_CGROUP_DEVICE;
  attributes.query.prog_ids = reinterpret_cast<uint64_t>(ids);
  attributes.query.prog_cnt = sizeof ids / sizeof ids[0];
  if (bpf(BPF_PROG_QUERY, &attributes) < 0) return failure("bpf BPF_PROG_QUERY", errno, "devices");
  if (attributes.query.prog_cnt != 1) return Fd();
  union bpf_attr byId = {};
  byId.prog_id = ids[0];
  const long fd = bpf(BPF_PROG_GET_FD_BY_ID, &byId);
  if (fd < 0) return failure("bpf BPF_PROG_GET_FD_BY_ID", errno, "devices");
  return Fd(static_cast<int>(fd));
}

}  // namespace

Status attachDeviceProgram(int directory, const Span<uint64_t>& program) {
  Fd before = TRY(attached(directory));
  Fd fresh = TRY(load(program));
  union bpf_attr attributes = {};
  attributes.target_fd = static_cast<uint32_t>(directory);
  attributes.attach_bpf_fd = static_cast<uint32_t>(fresh.get());
  attributes.attach_type = BPF_CGROUP_DEVICE;
  attributes.attach_flags = BPF_F_ALLOW_MULTI;
  if (before.valid()) {
    // One call, so that there is no moment with both or neither.
    attributes.attach_flags |= BPF_F_REPLACE;
    attributes.replace_bpf_fd = static_cast<uint32_t>(before.get());
  }
  if (bpf(BPF_PROG_ATTACH, &attributes) < 0) return failure("bpf BPF_PROG_ATTACH", errno, "devices");
  return Done{};
}

}  // namespace bulkhead::cgroup
