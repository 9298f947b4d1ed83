#pragma once

#include <ctime>
#include <string>

#include "outcome.h"
#include "sys.h"

struct archive_entry;

namespace bulkhead::unpack {

// Owner, mode and kept extended attributes of an open file or directory, in the order the kernel needs: chown clears
// set-id bits and security.capability. Returns how many attributes were left out.
Result<unsigned> apply_attributes(archive_entry* entry, const Fd& file);

// Owner of a link or special file by name.
Status apply_owner(archive_entry* entry, const Fd& dir, const std::string& leaf);

timespec modified_time(archive_entry* entry);
Status apply_time(const Fd& file, const timespec& modified);
Status apply_time(const Fd& dir, const std::string& leaf, const timespec& modified);

}  // namespace bulkhead::unpack
