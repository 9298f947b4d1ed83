// For compilers without libFuzzer: runs the target once on each file given.
#include <cstdint>
#include <cstdio>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  for (int index = 1; index < argc; ++index) {
    FILE* file = fopen(argv[index], "rb");
    if (file == nullptr) {
      perror(argv[index]);
      return 1;
    }
    std::string bytes;
    char buffer[4096];
    for (size_t count; (count = fread(buffer, 1, sizeof buffer, file)) > 0;) bytes.append(buffer, count);
    fclose(file);
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  }
  printf("%d inputs\n", argc - 1);
  return 0;
}
