// File systems that the kernel makes: they must be created inside the namespaces whose contents they show.
#pragma once

#include "plan/plan.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::init {

/** The context of a new file system; an option without a value is a flag. */
Result<Fd> configureFilesystem(const char* type, const Span<plan::MountOption>& options);
/** What such a context describes, as a detached mount. */
Result<Fd> createFilesystem(const Fd& context, const char* type, uint64_t attributes);
/**
 * Attributes that a mount gets late. A tmpfs once it is in its place, from where it takes over; /dev when everything is
 * on it.
 */
uint64_t lateAttributes(const plan::Mount& mount);
/** A detached mount for a kind that needs nothing of the host. */
Result<Fd> makePseudo(const plan::Mount& mount);

}  // namespace bulkhead::init
