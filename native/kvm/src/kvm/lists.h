// KVM's variable lists. Linux's headers declare them with a flexible array that C++ gives a size: both the place of the
// entries and the request numbers, which carry the size, come out wrong (Debian 12, linux-libc-dev 6.1).
#pragma once

#include <linux/kvm.h>

#include <cstdint>

namespace bulkhead::vm {

/** struct kvm_cpuid2 and struct kvm_msrs: a count, four bytes of padding, then `kMax` entries. */
template <class Entry, uint32_t kMax>
struct KvmList {
  uint32_t count = 0;
  uint32_t padding = 0;
  Entry entries[kMax] = {};
};

inline constexpr unsigned long kListHeadBytes = 8;
// include/uapi/linux/kvm.h: _IOWR(KVMIO, 0x05), _IOW(KVMIO, 0x90), _IOWR(KVMIO, 0x88) and _IOW(KVMIO, 0x89), all of 8
// bytes.
inline constexpr unsigned long kGetSupportedCpuid = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, kListHeadBytes);
inline constexpr unsigned long kSetCpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, kListHeadBytes);
inline constexpr unsigned long kGetMsrs = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x88, kListHeadBytes);
inline constexpr unsigned long kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, kListHeadBytes);

/** struct kvm_msr_list, whose entries follow the count at once: _IOWR(KVMIO, 0x02) of 4 bytes. */
template <uint32_t kMax>
struct MsrIndexes {
  uint32_t count = 0;
  uint32_t indexes[kMax] = {};
};
inline constexpr unsigned long kGetMsrIndexes = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x02, 4);

// struct kvm_xsave, of which the kernel moves as much as KVM_CAP_XSAVE2 says: _IOR(KVMIO, 0xcf), _IOW(KVMIO, 0xa5).
inline constexpr unsigned long kExtendedBytes = 4096;
inline constexpr unsigned long kGetExtended = _IOC(_IOC_READ, KVMIO, 0xa4, kExtendedBytes);
inline constexpr unsigned long kGetExtended2 = _IOC(_IOC_READ, KVMIO, 0xcf, kExtendedBytes);
inline constexpr unsigned long kSetExtended = _IOC(_IOC_WRITE, KVMIO, 0xa5, kExtendedBytes);

/** Far above what any processor answers (a few dozen), and the most that KVM takes. */
inline constexpr uint32_t kMaxCpuidEntries = 256;
using CpuidList = KvmList<kvm_cpuid_entry2, kMaxCpuidEntries>;

}  // namespace bulkhead::vm
