// Mount option words: attributes of the mount, propagation, or data for the file system.
#include <linux/mount.h>
#include <sys/mount.h>

#include <algorithm>
#include <iterator>

#include "plan/compile.h"

namespace bulkhead::plan {
namespace {

struct Attribute {
  std::string_view word;
  uint64_t set;
  uint64_t clear;
};

// Access time is one field of the mask, so choosing any value clears the whole field first.
constexpr Attribute kAttributes[] = {
    {"ro", MOUNT_ATTR_RDONLY, 0},
    {"rw", 0, MOUNT_ATTR_RDONLY},
    {"nosuid", MOUNT_ATTR_NOSUID, 0},
    {"suid", 0, MOUNT_ATTR_NOSUID},
    {"nodev", MOUNT_ATTR_NODEV, 0},
    {"dev", 0, MOUNT_ATTR_NODEV},
    {"noexec", MOUNT_ATTR_NOEXEC, 0},
    {"exec", 0, MOUNT_ATTR_NOEXEC},
    {"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
    {"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    {"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
    {"diratime", 0, MOUNT_ATTR_NODIRATIME},
    {"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0},
    {"symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW},
};

struct Propagation {
  std::string_view word;
  uint64_t flag;
};
constexpr Propagation kPropagations[] = {
    {"private", MS_PRIVATE},
    {"slave", MS_SLAVE},
    {"shared", MS_SHARED},
    {"unbindable", MS_UNBINDABLE},
};

// Words that change nothing here: defaults, or flags of the whole file system that the source already decides.
constexpr std::string_view kIgnored[] = {"defaults",   "bind",   "rbind",      "async",   "auto",
                                         "noauto",     "nouser", "user",       "_netdev", "atime",
                                         "noiversion", "loud",   "norelatime", "nomand",  "nostrictatime"};

// Data options per file system; anything else could reach kernel code that nobody meant to expose.
constexpr std::string_view kData[] = {"size",     "mode",        "uid",     "gid",    "nr_inodes", "nr_blocks",
                                      "ptmxmode", "newinstance", "hidepid", "subset", "huge",      "inode64"};

template <class Table>
auto find(const Table& table, std::string_view word) {
  return std::find_if(std::begin(table), std::end(table), [&](const auto& row) { return row.word == word; });
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
    if (word == "idmap" || word == "ridmap") {
      mount->flags |= kMountIdMapped;
      continue;
    }
    // An "r" before an attribute word means "for the submounts too", except in the words that merely start with it.
    const bool recursive = word.size() > 2 && word[0] == 'r' && find(kAttributes, word) == std::end(kAttributes) &&
                           (find(kAttributes, word.substr(1)) != std::end(kAttributes) ||
                            find(kPropagations, word.substr(1)) != std::end(kPropagations));
    if (recursive) word.remove_prefix(1);
    if (const auto* attribute = find(kAttributes, word); attribute != std::end(kAttributes)) {
      mount->attributesSet = (mount->attributesSet & ~(attribute->set | attribute->clear)) | attribute->set;
      mount->attributesClear = (mount->attributesClear & ~attribute->set) | attribute->clear;
      if (recursive) mount->flags |= kMountRecursiveAttributes;
      continue;
    }
    if (const auto* propagation = find(kPropagations, word); propagation != std::end(kPropagations)) {
      mount->propagation = propagation->flag | (recursive ? uint64_t{MS_REC} : 0);
      continue;
    }
    const size_t equals = word.find('=');
    const std::string_view key = word.substr(0, equals);
    if (!contains(kData, key)) return context->fail(element, "is not a known mount option");
    const std::string_view value = equals == std::string_view::npos ? std::string_view() : word.substr(equals + 1);
    // Every mount of devpts is a new instance since Linux 4.7.
    if (key != "newinstance") data.push_back({context->keep(key), context->keep(value)});
  }
  // mount_setattr refuses a bit in both masks, except for the access time field.
  return context->store(options, data, &mount->options);
}

}  // namespace bulkhead::plan
