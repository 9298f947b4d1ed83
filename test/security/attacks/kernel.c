/* kernel: asks the kernel for what a container must not have; prints "name errno" for each (0: it was given). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void report(const char *name, long result) {
  printf("%s %d\n", name, result < 0 ? errno : 0);
}

/* A 32-bit call from 64-bit code: a filter that knows one architecture's numbers only would let it through. */
static void compat(const char *name, long number, long a, long b) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(0L), "S"(0L), "D"(0L) : "memory");
  printf("%s %d\n", name, result < 0 ? (int)-result : 0);
}

int main(void) {
  report("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
  report("fsconfig", syscall(SYS_fsconfig, 0, 0, 0, 0, 0));
  report("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
  report("move_mount", syscall(SYS_move_mount, AT_FDCWD, "/tmp", AT_FDCWD, "/etc", 0));
  report("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, 0, 0));
  report("mount", mount("x", "/tmp", "tmpfs", 0, NULL));
  report("umount", umount2("/proc/keys", MNT_DETACH));
  report("pivot_root", syscall(SYS_pivot_root, ".", "."));
  report("unshare-user", unshare(CLONE_NEWUSER));
  report("unshare-cgroup-mount", unshare(CLONE_NEWNS | CLONE_NEWCGROUP));
  report("keyctl-session", syscall(SYS_keyctl, 1, 0, 0, 0, 0));
  report("keyctl-search", syscall(SYS_keyctl, 10, -3, "user", "secret", 0));
  report("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
  report("request_key", syscall(SYS_request_key, "user", "x", 0, -3));
  report("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, 0, 0));
  report("mknod-disk", mknod("/disk", S_IFBLK | 0600, makedev(254, 0)));
  report("mknod-kmsg", mknod("/kmsg", S_IFCHR | 0600, makedev(1, 11)));
  report("kcore", open("/proc/kcore", O_RDONLY) < 0 ? -1 : (long)read(open("/proc/kcore", O_RDONLY), &(char){0}, 1) - 1);
  report("sysrq", open("/proc/sysrq-trigger", O_WRONLY));
  report("core_pattern", open("/proc/sys/kernel/core_pattern", O_WRONLY));
  report("ns_last_pid", open("/proc/sys/kernel/ns_last_pid", O_WRONLY));
  report("uevent_helper", open("/sys/kernel/uevent_helper", O_WRONLY));
  report("sys-remount", mount(NULL, "/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
  report("chroot-fd", syscall(SYS_setns, open("/proc/1/ns/mnt", O_RDONLY), CLONE_NEWNS));
  report("tiocsti", ioctl(0, TIOCSTI, "x"));
  report("nice", setpriority(PRIO_PROCESS, 0, -20));
  report("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0x89abcdef, 0));
  report("swapon", syscall(SYS_swapon, "/disk", 0));
  report("syslog", syscall(SYS_syslog, 3, &(char[64]){0}, 64));
  /* asm/unistd_32.h: mount 21, unshare 310, keyctl 288, setns 346, ptrace 26 */
  compat("int80-mount", 21, 0, 0);
  compat("int80-unshare", 310, CLONE_NEWUSER, 0);
  compat("int80-keyctl", 288, 1, 0);
  compat("int80-setns", 346, 0, 0);
  /* The x32 numbers of the same calls. */
  report("x32-mount", syscall(0x40000000L | SYS_mount, "x", "/tmp", "tmpfs", 0L, 0L));
  report("x32-unshare", syscall(0x40000000L | SYS_unshare, (long)CLONE_NEWUSER));
  return 0;
}
