/* exchange A B: swaps two names of a shared directory for ever, as fast as the kernel can. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>

int main(int count, char **arguments) {
  if (count != 3) return 2;
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    if (renameat2(AT_FDCWD, arguments[1], AT_FDCWD, arguments[2], RENAME_EXCHANGE) < 0) {
      perror("renameat2");
      return 1;
    }
  }
}
