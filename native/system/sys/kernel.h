// Kernel interface that Debian 12's headers (6.1) lack or that clashes with glibc's own headers.
#pragma once

#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sys/syscall.h>

#include <cstdint>

namespace bulkhead::kernel {

// include/uapi/linux/magic.h and fs/*.c
inline constexpr long kProcMagic = 0x9fa0;
inline constexpr long kSysfsMagic = 0x62656572;
inline constexpr long kDevptsMagic = 0x1cd1;
inline constexpr long kCgroupMagic = 0x27e0eb;
inline constexpr long kCgroup2Magic = 0x63677270;
inline constexpr long kTmpfsMagic = 0x01021994;
inline constexpr long kOverlayMagic = 0x794c7630;

// include/uapi/linux/nsfs.h: _IO(0xb7, 3), the CLONE_NEW* flag of a namespace descriptor
inline constexpr unsigned long kNsGetType = 0xb703;

/**
 * Linux 5.19. Before, renames between directories are refused as a whole, so programs would break in the places where
 * they may write.
 */
inline constexpr long kLeastLandlockAbi = 2;

// include/uapi/linux/prctl.h
inline constexpr int kMaxCapability = 63;

}  // namespace bulkhead::kernel
