#include "runner.h"

// Runs every test, or those whose name contains the first argument.
int main(int argc, char** argv) {
  int run = 0;
  int failed = 0;
  for (const auto& test : bulkhead::test::cases()) {
    if (argc > 1 && strstr(test.name, argv[1]) == nullptr) continue;
    const int before = bulkhead::test::failures();
    test.body();
    ++run;
    if (bulkhead::test::failures() == before) continue;
    ++failed;
    fprintf(stderr, "FAILED %s\n", test.name);
  }
  printf("%d passed, %d failed\n", run - failed, failed);
  return failed == 0 && run > 0 ? 0 : 1;
}
