// What bulkhead-reach is asked: text fields, each ended by NUL, in a sealed memory file.
#pragma once

#include <cstddef>
#include <string_view>

#include "sys/procfs.h"
#include "sys/result.h"

namespace bulkhead::reach {

/** Takes the fields of a request one after the other. */
class Request {
 public:
  explicit Request(std::string_view bytes) : rest_(bytes) {}

  /** The next field, followed by NUL; EBADMSG when there is none. */
  Result<const char*> text(const char* name);
  Result<uint64_t> number(const char* name, uint64_t limit);
  /** A field that is "1" or "0". */
  Result<bool> flag(const char* name);
  /** Two fields: pid and start ticks. */
  Result<sys::ProcessRef> process();
  /** EBADMSG when fields are left. */
  Status end() const;

 private:
  std::string_view rest_;
};

}  // namespace bulkhead::reach
