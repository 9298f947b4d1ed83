// Applies any bytes as a layer below a scratch directory on /dev/shm and checks that the file beside it is untouched.
#include <cstdio>

#include "scratch_dir.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace bulkhead::unpack;
  ScratchDir dir("/dev/shm");
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  static_cast<void>(dir.apply(bytes, {.max_bytes = 1 << 20, .max_entries = 200}));
  if (dir.secret() != "untouched") std::abort();
  return 0;
}

#ifdef BULKHEAD_REPLAY
int main(int count, char** arguments) {
  for (int at = 1; at < count; ++at) {
    std::FILE* file = std::fopen(arguments[at], "rb");
    if (file == nullptr) return 1;
    std::string bytes;
    char block[4096];
    for (std::size_t size = 0; (size = std::fread(block, 1, sizeof block, file)) > 0;) bytes.append(block, size);
    std::fclose(file);
    LLVMFuzzerTestOneInput(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  }
  return 0;
}
#endif
