// The order is that of Linux, Documentation/virt/kvm/api.rst: what later values depend on comes first.
#include "snapshot/vcpu_state.h"

#include <algorithm>
#include <cerrno>
#include <memory>

#include "kvm/lists.h"

namespace bulkhead::vm {
namespace {

constexpr uint32_t kMaxRegisters = 1024;
/** Far above what any processor has. */
constexpr uint32_t kMaxExtendedBytes = 256 * 1024;

/** IA32_TSC_DEADLINE: a timer that is set against a counter that has to run already. */
constexpr uint32_t kTscDeadline = 0x6e0;

// Intel SDM volume 3, memory type ranges: KVM keeps them and does not list them.
constexpr uint32_t kMemoryTypes[] = {0x2ff, 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d,
                                     0x26e, 0x26f, 0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207,
                                     0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d, 0x20e, 0x20f};

using RegisterList = KvmList<kvm_msr_entry, kMaxRegisters>;

Result<uint32_t> transfer(int vcpu, const char* name, unsigned long request, kvm_msr_entry* entries, size_t count) {
  const auto list = std::make_unique<RegisterList>();
  list->count = static_cast<uint32_t>(count);
  std::copy(entries, entries + count, list->entries);
  const int done = TRY(control(vcpu, name, request, list.get()));
  std::copy(list->entries, list->entries + count, entries);
  return static_cast<uint32_t>(done);
}

/** All that KVM says; those that it lists and cannot say are left out. */
Result<std::vector<kvm_msr_entry>> readRegisters(int vcpu, const std::vector<uint32_t>& indexes) {
  std::vector<kvm_msr_entry> entries;
  for (const uint32_t index : indexes) entries.push_back({index, 0, 0});
  size_t known = 0;
  while (known < entries.size()) {
    known += TRY(transfer(vcpu, "KVM_GET_MSRS", kGetMsrs, entries.data() + known, entries.size() - known));
    // It stops at the first that it cannot say.
    if (known < entries.size()) entries.erase(entries.begin() + static_cast<long>(known));
  }
  return entries;
}

/** A register that cannot be set must be what it is. */
Status writeRegisters(int vcpu, std::vector<kvm_msr_entry> entries) {
  for (size_t done = 0; done < entries.size();) {
    done += TRY(transfer(vcpu, "KVM_SET_MSRS", kSetMsrs, entries.data() + done, entries.size() - done));
    if (done == entries.size()) break;
    kvm_msr_entry now = {entries[done].index, 0, 0};
    const bool said = TRY(transfer(vcpu, "KVM_GET_MSRS", kGetMsrs, &now, 1)) == 1;
    if (!said || now.data != entries[done].data) return failure("KVM_SET_MSRS", ENOTSUP, "a register of a snapshot");
    ++done;
  }
  return Done{};
}

/** A counter that is off by more than 250 millionths is another one to the guest. */
Status setRate(int vcpu, uint32_t wantedKhz) {
  auto asked = control(vcpu, "KVM_GET_TSC_KHZ", KVM_GET_TSC_KHZ);
  if (wantedKhz == 0 || !asked.ok()) return Done{};
  const auto khz = static_cast<uint64_t>(asked.value());
  const uint64_t apart = khz > wantedKhz ? khz - wantedKhz : wantedKhz - khz;
  if (apart * 1'000'000 <= uint64_t{wantedKhz} * 250) return Done{};
  if (control(vcpu, "KVM_SET_TSC_KHZ", KVM_SET_TSC_KHZ, static_cast<unsigned long>(wantedKhz)).ok()) return Done{};
  return failure("snapshot", ENOTSUP, "its time stamp counter has another rate than this host's");
}

}  // namespace

Result<VcpuShape> VcpuShape::of(const KvmSystem& system) {
  VcpuShape shape;
  const auto list = std::make_unique<MsrIndexes<kMaxRegisters - std::size(kMemoryTypes)>>();
  list->count = static_cast<uint32_t>(std::size(list->indexes));
  TRY(control(system.get(), "KVM_GET_MSR_INDEX_LIST", kGetMsrIndexes, list.get()));
  shape.registers.assign(list->indexes, list->indexes + list->count);
  for (const uint32_t index : kMemoryTypes) {
    if (std::find(shape.registers.begin(), shape.registers.end(), index) == shape.registers.end()) {
      shape.registers.push_back(index);
    }
  }
  std::stable_partition(shape.registers.begin(), shape.registers.end(),
                        [](uint32_t index) { return index != kTscDeadline; });
  const auto bytes = static_cast<uint32_t>(system.value(KVM_CAP_XSAVE2));
  if (bytes > kMaxExtendedBytes) return failure("KVM_CAP_XSAVE2", EPROTO);
  shape.hasSize = bytes != 0;
  shape.extendedBytes = std::max<uint32_t>(bytes, kExtendedBytes);
  return shape;
}

void Lacking::note(std::string_view name) {
  if (std::find(names_.begin(), names_.end(), name) == names_.end()) names_.push_back(name);
}

Result<VcpuState> VcpuState::save(const Vcpu& vcpu, const VcpuShape& shape, Lacking* lacking) {
  const int fd = vcpu.get();
  VcpuState state;
  TRY(control(fd, "KVM_GET_MP_STATE", KVM_GET_MP_STATE, &state.running));
  TRY(control(fd, "KVM_GET_REGS", KVM_GET_REGS, &state.registers));
  TRY(control(fd, "KVM_GET_SREGS", KVM_GET_SREGS, &state.special));
  state.extended.resize(shape.extendedBytes / sizeof(uint32_t));
  TRY(control(fd, "KVM_GET_XSAVE", shape.hasSize ? kGetExtended2 : kGetExtended, state.extended.data()));
  kvm_xcrs all = {};
  const bool controlled = control(fd, "KVM_GET_XCRS", KVM_GET_XCRS, &all).ok();
  if (controlled && all.nr_xcrs > 0 && all.nr_xcrs <= KVM_MAX_XCRS) {
    state.controls.assign(all.xcrs, all.xcrs + all.nr_xcrs);
  } else {
    lacking->note("extended-control-registers");
  }
  kvm_debugregs debug = {};
  if (control(fd, "KVM_GET_DEBUGREGS", KVM_GET_DEBUGREGS, &debug).ok()) {
    state.debug.push_back(debug);
  } else {
    lacking->note("debug-registers");
  }
  TRY(control(fd, "KVM_GET_LAPIC", KVM_GET_LAPIC, &state.apic));
  auto khz = control(fd, "KVM_GET_TSC_KHZ", KVM_GET_TSC_KHZ);
  if (khz.ok()) {
    state.tscKhz = static_cast<uint32_t>(khz.value());
  } else {
    lacking->note("time-stamp-counter-rate");
  }
  state.modelSpecific = TRY(readRegisters(fd, shape.registers));
  TRY(control(fd, "KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS, &state.events));
  return state;
}

Status VcpuState::restore(const Vcpu& vcpu, const VcpuShape& shape) const {
  const int fd = vcpu.get();
  // The kernel reads as much as it has on this host.
  if (extended.size() * sizeof(uint32_t) != shape.extendedBytes) {
    return failure("snapshot", ENOTSUP, "its processors have another extended state than this host's");
  }
  for (const kvm_msr_entry& entry : modelSpecific) {
    const bool known = std::find(shape.registers.begin(), shape.registers.end(), entry.index) != shape.registers.end();
    if (!known) return failure("snapshot", ENOTSUP, "it has a register that this host's KVM does not keep");
  }
  TRY(setRate(fd, tscKhz));
  // KVM takes copies: what it is given it may write to.
  VcpuState copy = *this;
  TRY(control(fd, "KVM_SET_MP_STATE", KVM_SET_MP_STATE, &copy.running));
  TRY(control(fd, "KVM_SET_REGS", KVM_SET_REGS, &copy.registers));
  TRY(control(fd, "KVM_SET_SREGS", KVM_SET_SREGS, &copy.special));
  TRY(control(fd, "KVM_SET_XSAVE", kSetExtended, copy.extended.data()));
  if (!controls.empty()) {
    kvm_xcrs all = {};
    all.nr_xcrs = static_cast<uint32_t>(controls.size());
    std::copy(controls.begin(), controls.end(), all.xcrs);
    TRY(control(fd, "KVM_SET_XCRS", KVM_SET_XCRS, &all));
  }
  for (kvm_debugregs& each : copy.debug) TRY(control(fd, "KVM_SET_DEBUGREGS", KVM_SET_DEBUGREGS, &each));
  TRY(control(fd, "KVM_SET_LAPIC", KVM_SET_LAPIC, &copy.apic));
  TRY(writeRegisters(fd, std::move(copy.modelSpecific)));
  TRY(control(fd, "KVM_SET_VCPU_EVENTS", KVM_SET_VCPU_EVENTS, &copy.events));
  vcpu.tellPaused();
  return Done{};
}

void VcpuState::write(StateWriter* to) const {
  to->put(tscKhz);
  to->put(running);
  to->put(registers);
  to->put(special);
  to->putAll(extended);
  to->putAll(controls);
  to->putAll(debug);
  to->put(apic);
  to->putAll(modelSpecific);
  to->put(events);
}

VcpuState VcpuState::read(StateReader* from) {
  VcpuState state;
  state.tscKhz = from->get<uint32_t>();
  state.running = from->get<kvm_mp_state>();
  state.registers = from->get<kvm_regs>();
  state.special = from->get<kvm_sregs>();
  state.extended = from->getAll<uint32_t>(kMaxExtendedBytes / sizeof(uint32_t));
  state.controls = from->getAll<kvm_xcr>(KVM_MAX_XCRS);
  state.debug = from->getAll<kvm_debugregs>(1);
  state.apic = from->get<kvm_lapic_state>();
  state.modelSpecific = from->getAll<kvm_msr_entry>(kMaxRegisters);
  state.events = from->get<kvm_vcpu_events>();
  return state;
}

}  // namespace bulkhead::vm
