// File systems that the kernel makes: they must be created inside the namespaces whose contents they show.
#pragma once

#include "plan/plan.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::init {

/** A new file system, detached; an option without a value is a flag. */
Result<Fd> makeFilesystem(const char* type, const Span<plan::MountOption>& options, uint64_t attributes);
/** Attributes that such a mount gets once it is in its place: a tmpfs takes over from there before it is read-only. */
uint64_t lateAttributes(const plan::Mount& mount);
/** A detached mount for a kind that needs nothing of the host. */
Result<Fd> makePseudo(const plan::Mount& mount);

}  // namespace bulkhead::init
