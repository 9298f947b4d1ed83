/*
 * beneath: root of a container with CAP_SYS_ADMIN looks for what lies below its root, and for a /proc that nothing is
 * masked in. Prints "name errno" for what was tried, "sees PATH" for each entry found below, and "process PATH" or
 * "writes PATH" for what must not be found there.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(const char *name, int result) {
  printf("%s %d\n", name, result < 0 ? errno : 0);
  fflush(stdout);
}

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) perror(path);
  if (fd >= 0) close(fd);
}

/* A user namespace of its own may mount file systems that show the kernel only when it sees such a one whole. */
static void mount_nested(void) {
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET) < 0) {
    tell("unshare", -1);
    return;
  }
  tell("unshare", 0);
  put("/proc/self/setgroups", "deny");
  put("/proc/self/uid_map", "0 0 1");
  put("/proc/self/gid_map", "0 0 1");
  pid_t child = fork();
  if (child == 0) {
    tell("nested-proc", mount("proc", "/tmp", "proc", 0, NULL));
    tell("nested-sysfs", mount("sysfs", "/tmp", "sysfs", 0, NULL));
    exit(0);
  }
  waitpid(child, NULL, 0);
}

static void list(const char *directory) {
  DIR *entries = opendir(directory);
  if (entries == NULL) return;
  for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    printf("sees %s%s%s\n", directory, directory[1] == 0 ? "" : "/", entry->d_name);
  }
  closedir(entries);
}

/* What it covers may be uncovered by who covered it: root of this user namespace. */
static void uncover(void) {
  umount2("/proc", MNT_DETACH);
  umount2("/sys", MNT_DETACH);
  DIR *entries = opendir("/proc");
  if (entries != NULL) {
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
      if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') printf("process /proc/%s\n", entry->d_name);
    }
    closedir(entries);
  }
  static const char *const files[] = {"/proc/self/status", "/proc/1/root", "/proc/sysrq-trigger",
                                      "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe",
                                      "/sys/kernel/uevent_helper", "/sys/class/net/eth0", "/empty/x", "/x"};
  for (unsigned at = 0; at < sizeof files / sizeof *files; ++at) {
    int fd = open(files[at], O_WRONLY | (at < 7 ? 0 : O_CREAT), 0600);
    if (fd >= 0) printf("writes %s\n", files[at]);
    if (fd >= 0) close(fd);
  }
}

int main(void) {
  pid_t nested = fork();
  if (nested == 0) {
    mount_nested();
    return 0;
  }
  waitpid(nested, NULL, 0);
  int own = open("/proc/self/ns/mnt", O_RDONLY);
  tell("umount-root", umount2("/", MNT_DETACH));
  tell("setns", setns(own, CLONE_NEWNS));
  list("/");
  list("/empty");
  list("/proc");
  list("/sys");
  uncover();
  return 0;
}
