// The one function of libstdc++ that the linked headers refer to: string_view's bounds check. Nothing here throws, so a
// failed check ends the process as it would with -fno-exceptions and the library.
#include <cstdlib>

namespace std {

void __throw_out_of_range_fmt(const char*, ...) __attribute__((noreturn));
void __throw_out_of_range_fmt(const char*, ...) {
  abort();
}

}  // namespace std
