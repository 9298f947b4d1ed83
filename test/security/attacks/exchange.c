/*
 * exchange A B [REST]: swaps two names of a shared directory for ever, as fast as the kernel can. With REST they are
 * swapped for a moment only, every so many microseconds, so that whoever uses A often finds A.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **arguments) {
  if (count < 3) return 2;
  const useconds_t rest = count > 3 ? (useconds_t)atoi(arguments[3]) : 0;
  printf("ready\n");
  fflush(stdout);
  for (int swapped = 0;; swapped = !swapped) {
    if (renameat2(AT_FDCWD, arguments[1], AT_FDCWD, arguments[2], RENAME_EXCHANGE) < 0) {
      perror("renameat2");
      return 1;
    }
    if (rest > 0 && swapped) usleep(rest);
  }
}
