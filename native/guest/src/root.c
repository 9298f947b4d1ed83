#define _GNU_SOURCE
#include "root.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine.h"
#include "report.h"
#include "socket_directory.h"

static const unsigned long kQuiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;

static void mountOverlay(void) {
  char disk[64];
  findDisk("image", disk);
  mountAt(disk, "/lower", "ext4", MS_RDONLY | MS_NODEV, "noload");
  findDisk("scratch", disk);
  mountAt(disk, "/scratch", "ext4", MS_NODEV, NULL);
  makeDirectory("/scratch/upper");
  makeDirectory("/scratch/work");
  mountAt("overlay", "/root", "overlay", MS_NODEV, "lowerdir=/lower,upperdir=/scratch/upper,workdir=/scratch/work");
}

// A symbolic link that the image has in a path of ours would lead into the initramfs: everything is made after chroot.
static void become(const char* path) {
  if (chdir(path) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0) {
    fail("chroot", path, errno);
  }
}

static void mountTmpfs(const char* wanted) {
  // size:mode:x or -:path
  char size[24];
  char mode[8];
  char flag;
  int at = 0;
  if (sscanf(wanted, "%23[0-9]:%7[0-7]:%c:%n", size, mode, &flag, &at) != 3 || wanted[at] != '/') {
    fail("tmpfs", wanted, EINVAL);
  }
  char options[64];
  snprintf(options, sizeof options, "size=%s,mode=%s", size, mode);
  mountAt("tmpfs", wanted + at, "tmpfs", MS_NOSUID | MS_NODEV | (flag == 'x' ? 0 : MS_NOEXEC), options);
}

// What may be changed is the host's to say: it serves a read-only directory read-only, whatever is asked here.
static void mountShare(const char* wanted) {
  // tag:ro or rw:path
  char tag[40];
  char mode[3];
  int at = 0;
  if (sscanf(wanted, "%39[^:]:%2[rwo]:%n", tag, mode, &at) != 2 || wanted[at] != '/') fail("share", wanted, EINVAL);
  makeDirectories(wanted + at);
  const unsigned long readOnly = strcmp(mode, "ro") == 0 ? MS_RDONLY : 0;
  mountAt(tag, wanted + at, "virtiofs", MS_NOSUID | MS_NODEV | readOnly, NULL);
}

static void linkTo(const char* target, const char* path) {
  if (symlink(target, path) < 0 && errno != EEXIST) fail("symlink", path, errno);
}

static void fillDev(void) {
  makeDirectory("/dev/pts");
  mountAt("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
  mountAt("shm", "/dev/shm", "tmpfs", kQuiet, "mode=1777,size=50%");
  if (unlink("/dev/ptmx") < 0 && errno != ENOENT) fail("unlink", "/dev/ptmx", errno);
  linkTo("pts/ptmx", "/dev/ptmx");
  linkTo("/proc/self/fd", "/dev/fd");
  linkTo("/proc/self/fd/0", "/dev/stdin");
  linkTo("/proc/self/fd/1", "/dev/stdout");
  linkTo("/proc/self/fd/2", "/dev/stderr");
}

// The instance's own file, not whatever a link in the image leads to.
static void provide(const char* path, const char* text) {
  if (text == NULL) return;
  if (unlink(path) < 0 && errno != ENOENT) fail("unlink", path, errno);
  if (writeFile(path, text, O_CREAT | O_EXCL | O_NOFOLLOW) < 0) fail("write", path, errno);
}

// Systemd's id of a machine, which some images bring along or make; one that is not there is not missed.
static bool hasMachineId(void) {
  struct stat found;
  return lstat("/etc/machine-id", &found) == 0 && S_ISREG(found.st_mode) && found.st_size > 0;
}

void provideIdentity(const struct settings* settings) {
  provide("/etc/hosts", settings->hosts);
  provide("/etc/resolv.conf", settings->resolvConf);
  char name[300];
  snprintf(name, sizeof name, "%s\n", settings->hostname);
  provide("/etc/hostname", name);
  if (sethostname(settings->hostname, strlen(settings->hostname)) < 0) fail("hostname", settings->hostname, errno);
  if (settings->machineId != NULL && hasMachineId()) provide("/etc/machine-id", settings->machineId);
}

void enterRoot(const struct settings* settings) {
  mountOverlay();
  become("/root");
  mountAt("dev", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
  mountAt("proc", "/proc", "proc", kQuiet, NULL);
  mountAt("sys", "/sys", "sysfs", kQuiet, NULL);
  mountAt("cgroup", "/sys/fs/cgroup", "cgroup2", kQuiet, NULL);
  fillDev();
  makeDirectory("/etc");
  provideIdentity(settings);
  for (size_t index = 0; index < settings->tmpfsCount; index++) mountTmpfs(settings->tmpfs[index]);
  for (size_t index = 0; index < settings->shareCount; index++) mountShare(settings->shares[index]);
  for (size_t index = 0; index < settings->socketDirectoryCount; index++) {
    openSocketDirectory(settings->socketDirectories[index]);
  }
  if (settings->readOnlyRoot && mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0) {
    fail("read-only root", "/", errno);
  }
}
