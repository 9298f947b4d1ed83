/* Tries what the default profile must refuse and what it must not; prints one line "name errno" for each. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

static void report(const char *name, long result) {
  printf("%s %d\n", name, result < 0 ? errno : 0);
}

int main(void) {
  report("inet", syscall(SYS_socket, 2L, 1L, 0L));
  report("unix", syscall(SYS_socket, 1L, 1L, 0L));
  report("alg", syscall(SYS_socket, 38L, 5L, 0L));
  /* The kernel looks at 32 bits of the family; a filter that compares 64 would let this one through. */
  report("alg-high-bits", syscall(SYS_socket, 38L | (1L << 40), 5L, 0L));
  report("vsock", syscall(SYS_socket, 40L, 1L, 0L));
  report("vsock-high-bits", syscall(SYS_socket, 40L | (1L << 40), 1L, 0L));
  report("clone3", syscall(SYS_clone3, 0L, 0L));
  report("clone-newuser", syscall(SYS_clone, (long)CLONE_NEWUSER | 17, 0L, 0L, 0L, 0L));
  report("unshare", unshare(CLONE_NEWNS));
  report("setns", setns(0, 0));
  report("mount", syscall(SYS_mount, "a", "/etc", "tmpfs", 0L, 0L));
  report("bpf", syscall(SYS_bpf, 0L, 0L, 0L));
  report("io_uring_setup", syscall(425L, 1L, 0L));
  report("userfaultfd", syscall(SYS_userfaultfd, 0L));
  report("keyctl", syscall(SYS_keyctl, 0L, 0L, 0L, 0L, 0L));
  report("init_module", syscall(SYS_init_module, 0L, 0L, 0L));
  report("settimeofday", syscall(SYS_settimeofday, 0L, 0L));
  report("perf_event_open", syscall(SYS_perf_event_open, 0L, 0L, 0L, 0L, 0L));
  report("personality-query", syscall(SYS_personality, 0xffffffffL));
  report("personality-read-implies-exec", syscall(SYS_personality, (long)READ_IMPLIES_EXEC));
  report("newer-than-the-profile", syscall(9999L));
  return 0;
}
