// Mount option words: attributes of the mount, propagation, or data for the
// file system.
#include <linux/mount.h>
#include <sys/mount.h>

#include <algorithm>
#include <iterator>

#include "plan/compile.h"
#include "plan/mount_words.h"

namespace bulkhead::plan {
namespace {

struct Attribute {
  std::string_view word;
  /** The same for all submounts. */
  std::string_view recursive;
  uint64_t set;
  uint64_t clear;
};

// Access time is one field of the mask, so choosing any value clears the whole
// field first.
constexpr Attribute kAttributes[] = {
    {"ro", "rro", MOUNT_ATTR_RDONLY, 0},
    {"rw", "rrw", 0, MOUNT_ATTR_RDONLY},
    {"nosuid", "rnosuid", MOUNT_ATTR_NOSUID, 0},
    {"suid", "rsuid", 0, MOUNT_ATTR_NOSUID},
    {"nodev", "rnodev", MOUNT_ATTR_NODEV, 0},
    {"dev", "rdev", 0, MOUNT_ATTR_NODEV},
    {"noexec", "rnoexec", MOUNT_ATTR_NOEXEC, 0},
    {"exec", "rexec", 0, MOUNT_ATTR_NOEXEC},
    {"noatime", "rnoatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
    {"relatime", "rrelatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"strictatime", "rstrictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    // The kernel's default, which these words ask back for.
    {"atime", "ratime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"norelatime", "rnorelatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"nostrictatime", "rnostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"nodiratime", "rnodiratime", MOUNT_ATTR_NODIRATIME, 0},
    {"diratime", "rdiratime", 0, MOUNT_ATTR_NODIRATIME},
    {"nosymfollow", "rnosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0},
    {"symfollow", "rsymfollow", 0, MOUNT_ATTR_NOSYMFOLLOW},
};

struct Propagation {
  std::string_view word;
  std::string_view recursive;
  uint64_t flag;
};
constexpr Propagation kPropagations[] = {
    {"private", "rprivate", MS_PRIVATE},
    {"slave", "rslave", MS_SLAVE},
    {"shared", "rshared", MS_SHARED},
    {"unbindable", "runbindable", MS_UNBINDABLE},
};

// Words that change nothing here: defaults, orders to mount(8), or what kernels
// no longer have.
constexpr std::string_view kIgnored[] = {"defaults", "auto",       "noauto", "nouser",    "user",
                                         "_netdev",  "silent",     "loud",   "mand",      "nomand",
                                         "iversion", "noiversion", "async",  "nolazytime"};

// Flags of the whole file system: set when it is made, and already decided for
// a bind.
constexpr std::string_view kFilesystemFlags[] = {"sync", "dirsync", "lazytime"};

// Data options per file system; anything else could reach kernel code that
// nobody meant to expose.
constexpr std::string_view kData[] = {"size",    "mode",     "uid",         "gid",     "nr_inodes", "nr_blocks",
                                      "mpol",    "ptmxmode", "newinstance", "hidepid", "subset",    "huge",
                                      "inode64", "inode32",  "max",         "noswap",  "context"};

template <class Table>
auto find(const Table& table, std::string_view word) {
  return std::find_if(std::begin(table), std::end(table), [&](const auto& row) { return row.word == word; });
}

/** The word is the recursive spelling of one in the table: always an "r" in
 * front. */
template <class Table>
bool findRecursive(const Table& table, std::string_view word) {
  return std::any_of(std::begin(table), std::end(table), [&](const auto& row) { return row.recursive == word; });
}

bool contains(const auto& list, std::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

}  // namespace

bool compileMountOptions(Context* context, const View& options, Mount* mount) {
  Span<Str> words;
  if (!context->texts(options, &words)) return false;
  std::vector<MountOption> data;
  for (uint32_t index = 0; index < words.count; ++index) {
    const View element = options.element(index);
    std::string_view word = words[index].view();
    if (contains(kIgnored, word)) continue;
    if (word == "bind" || word == "rbind" || word == "remount" || word == "tmpcopyup") {
      if (word == "rbind") mount->flags |= kMountRecursive;
      if (word == "tmpcopyup") mount->flags |= kMountCopyUp;
      if (word == "remount") mount->kind = MountKind::remount;
      continue;
    }
    if (word == "idmap" || word == "ridmap") {
      mount->flags |= kMountIdMapped | (word == "ridmap" ? kMountRecursiveIds : 0u);
      continue;
    }
    if (contains(kFilesystemFlags, word)) {
      data.push_back({context->keep(word), {}});
      continue;
    }
    const bool recursive = findRecursive(kAttributes, word) || findRecursive(kPropagations, word);
    if (recursive) word.remove_prefix(1);
    if (const auto* attribute = find(kAttributes, word); attribute != std::end(kAttributes)) {
      uint64_t& set = recursive ? mount->recursiveSet : mount->attributesSet;
      uint64_t& clear = recursive ? mount->recursiveClear : mount->attributesClear;
      set = (set & ~(attribute->set | attribute->clear)) | attribute->set;
      clear = (clear & ~attribute->set) | attribute->clear;
      continue;
    }
    if (const auto* propagation = find(kPropagations, word); propagation != std::end(kPropagations)) {
      mount->propagation = propagation->flag | (recursive ? uint64_t{MS_REC} : 0);
      continue;
    }
    const size_t equals = word.find('=');
    const std::string_view key = word.substr(0, equals);
    if (!contains(kData, key)) return context->fail(element, "is not a known mount option");
    std::string_view value = equals == std::string_view::npos ? std::string_view() : word.substr(equals + 1);
    // mount(2) needs quotes around a label with commas, fsconfig(2) takes them for a part of it.
    if (key == "context" && value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    }
    // Every mount of devpts is a new instance since Linux 4.7.
    if (key != "newinstance") data.push_back({context->keep(key), context->keep(value)});
  }
  // mount_setattr refuses a bit in both masks, except for the access time
  // field.
  return context->store(options, data, &mount->options);
}

bool isFilesystemFlag(std::string_view word) {
  return contains(kFilesystemFlags, word);
}

std::vector<std::string_view> mountWords() {
  std::vector<std::string_view> words = {"bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap"};
  words.insert(words.end(), std::begin(kIgnored), std::end(kIgnored));
  words.insert(words.end(), std::begin(kFilesystemFlags), std::end(kFilesystemFlags));
  for (const Attribute& attribute : kAttributes) {
    words.push_back(attribute.word);
    words.push_back(attribute.recursive);
  }
  for (const Propagation& propagation : kPropagations) {
    words.push_back(propagation.word);
    words.push_back(propagation.recursive);
  }
  return words;
}

}  // namespace bulkhead::plan
