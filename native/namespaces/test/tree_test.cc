// Removal of trees that a hostile program made.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "runner.h"
#include "sys/fd.h"
#include "sys/tree.h"

namespace bulkhead {
namespace {

const std::atomic<bool> kNever = false;

std::string temporary() {
  char pattern[] = "/tmp/bulkhead-native-XXXXXX";
  return mkdtemp(pattern);
}

bool exists(const std::string& path) {
  struct stat status;
  return lstat(path.c_str(), &status) == 0;
}

void touch(const std::string& path) {
  close(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

}  // namespace

TEST(tree_removes_files_links_and_directories) {
  const std::string outside = temporary();
  touch(outside + "/kept");
  const std::string tree = temporary();
  for (int index = 0; index < 2000; ++index) touch(tree + "/" + std::to_string(index));
  EXPECT(symlink(outside.c_str(), (tree + "/link").c_str()) == 0);
  EXPECT(mkdir((tree + "/empty").c_str(), 0) == 0);
  EXPECT(mkfifo((tree + "/fifo").c_str(), 0) == 0);
  EXPECT(sys::removeTree(tree.c_str(), &kNever).ok());
  EXPECT(!exists(tree));
  EXPECT(exists(outside + "/kept"));
  EXPECT(sys::removeTree(outside.c_str(), &kNever).ok());
}

TEST(tree_removes_what_is_deeper_than_a_path) {
  const std::string tree = temporary();
  const std::string name(200, 'd');
  int at = open(tree.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int level = 0; level < 300; ++level) {
    EXPECT(mkdirat(at, name.c_str(), 0700) == 0);
    // A name the removal would choose, and a file beside.
    EXPECT(mkdirat(at, ".deep-0", 0700) == 0);
    const int next = openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(at);
    at = next;
  }
  close(at);
  EXPECT(sys::removeTree(tree.c_str(), &kNever).ok());
  EXPECT(!exists(tree));
}

TEST(tree_that_is_no_directory_or_not_there) {
  const std::string place = temporary();
  touch(place + "/file");
  EXPECT(sys::removeTree((place + "/file").c_str(), &kNever).ok());
  EXPECT(!exists(place + "/file"));
  EXPECT(sys::removeTree((place + "/none").c_str(), &kNever).ok());
  EXPECT(symlink("/", (place + "/root").c_str()) == 0);
  EXPECT(sys::removeTree((place + "/root").c_str(), &kNever).ok());
  EXPECT(sys::removeTree(place.c_str(), &kNever).ok());
  EXPECT(!exists(place));
}

TEST(tree_removal_stops_when_cancelled) {
  const std::string tree = temporary();
  touch(tree + "/file");
  const std::atomic<bool> cancelled = true;
  Status removed = sys::removeTree(tree.c_str(), &cancelled);
  EXPECT(!removed.ok() && removed.error().err == ECANCELED);
  EXPECT(exists(tree + "/file"));
  EXPECT(sys::removeTree(tree.c_str(), &kNever).ok());
}

TEST(tree_is_emptied_but_for_what_is_kept) {
  const std::string tree = temporary();
  const std::vector<std::string> kept = {"kept", "absent"};
  for (const char* name : {"/kept", "/kept/kept", "/kept/below", "/gone"}) {
    EXPECT(mkdir((tree + name).c_str(), 0700) == 0);
    touch(tree + name + "/file");
  }
  EXPECT(sys::emptyTree(tree.c_str(), kept, &kNever).ok());
  EXPECT(exists(tree + "/kept"));
  EXPECT(!exists(tree + "/gone"));
  // Only at the top does a name mean anything: what is left goes as an empty directory does.
  EXPECT(rmdir((tree + "/kept").c_str()) == 0);
  EXPECT(symlink("/tmp", (tree + "/kept").c_str()) == 0);
  EXPECT(!sys::emptyTree(tree.c_str(), kept, &kNever).ok());
  EXPECT(unlink((tree + "/kept").c_str()) == 0);
  EXPECT(mkdir((tree + "/kept").c_str(), 0700) == 0);
  EXPECT(chmod((tree + "/kept").c_str(), 0750) == 0);
  Status refused = sys::emptyTree(tree.c_str(), kept, &kNever);
  EXPECT(!refused.ok() && refused.error().err == EPERM);
  EXPECT(chmod((tree + "/kept").c_str(), 0700) == 0);
  EXPECT(chmod(tree.c_str(), 0711) == 0);
  EXPECT(!sys::emptyTree(tree.c_str(), kept, &kNever).ok());
  EXPECT(sys::removeTree(tree.c_str(), &kNever).ok());
}

TEST(tree_whose_children_are_kept_apart) {
  const std::string place = temporary();
  EXPECT(sys::spreadChildren(place.c_str()).ok());
  EXPECT(sys::spreadChildren(place.c_str()).ok());
  struct statfs status;
  EXPECT(statfs(place.c_str(), &status) == 0);
  int flags = 0;
  const Fd directory(open(place.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (status.f_type == EXT4_SUPER_MAGIC) {
    EXPECT(ioctl(directory.get(), FS_IOC_GETFLAGS, &flags) == 0);
    EXPECT((flags & FS_TOPDIR_FL) != 0);
  }
  // A file system that knows no such thing.
  EXPECT(sys::spreadChildren("/proc/sys").ok());
  EXPECT(!sys::spreadChildren((place + "/none").c_str()).ok());
  EXPECT(sys::removeTree(place.c_str(), &kNever).ok());
}

}  // namespace bulkhead
