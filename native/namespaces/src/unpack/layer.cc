#include "layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>

#include <memory>
#include <string_view>

#include "attributes.h"
#include "name.h"

namespace bulkhead::unpack {
namespace {

constexpr std::size_t kBlockBytes = 256 * 1024;
// Directory times are set last, so their names are kept: 64 MiB hold half a million of usual length.
constexpr std::uint64_t kMaxTimeBytes = 64ULL << 20;

struct Feed {
  Source& source;
  std::unique_ptr<char[]> block = std::make_unique<char[]>(kBlockBytes);
  int error = 0;
};

la_ssize_t feed(archive* reader, void* context, const void** data) {
  Feed& from = *static_cast<Feed*>(context);
  const ssize_t size = from.source.read(from.block.get(), kBlockBytes);
  if (size < 0) {
    from.error = errno;
    archive_set_error(reader, errno, "cannot read the layer");
    return -1;
  }
  *data = from.block.get();
  return size;
}

struct Free {
  void operator()(archive* reader) const { archive_read_free(reader); }
};

Failure reader_failure(archive* reader) {
  const char* said = archive_error_string(reader);
  return layer_failure("malformed", said == nullptr ? "the archive cannot be read" : said);
}

}  // namespace

Status Layer::apply(Source& source) {
  const std::unique_ptr<archive, Free> reader(archive_read_new());
  Feed from{source};
  if (!reader || archive_read_support_format_tar(reader.get()) != ARCHIVE_OK ||
      archive_read_support_format_empty(reader.get()) != ARCHIVE_OK) {
    return host_failure("archive_read_new", ENOMEM);
  }
  int state = archive_read_open(reader.get(), &from, nullptr, feed, nullptr);
  while (state == ARCHIVE_OK) {
    archive_entry* found = nullptr;
    state = archive_read_next_header(reader.get(), &found);
    if (state == ARCHIVE_EOF) break;
    // A warning means that some attribute was not understood; the entry itself is whole.
    if (state != ARCHIVE_OK && state != ARCHIVE_WARN) break;
    state = ARCHIVE_OK;
    if (Status done = entry(reader.get(), found); !done.ok()) {
      const char* path = archive_entry_pathname(found);
      if (done.failure().path.empty() && path != nullptr) done.failure().path = path;
      return done;
    }
  }
  if (from.error != 0) return host_failure("read", from.error);
  if (state != ARCHIVE_EOF) return reader_failure(reader.get());
  ssize_t rest = 0;
  while ((rest = source.read(from.block.get(), kBlockBytes)) > 0) continue;
  if (rest < 0) return host_failure("read");
  return finish();
}

Status Layer::entry(archive* reader, archive_entry* entry) {
  const char* raw = archive_entry_pathname(entry);
  Result<EntryName> parsed = parse_name(raw == nullptr ? std::string_view() : raw);
  if (!parsed.ok()) return std::move(parsed.failure());
  const EntryName& name = parsed.value();
  if (name.kind == NameKind::kMetadata) return {};
  if (name.leaf.empty()) return root_entry(entry);

  // Never made, whatever its numbers: a device in a layer is a way to the host's hardware.
  const auto type = archive_entry_filetype(entry);
  if (name.kind == NameKind::kEntry && archive_entry_hardlink(entry) == nullptr &&
      (type == AE_IFCHR || type == AE_IFBLK)) {
    ++totals_.skipped_devices;
    return {};
  }
  if (Status counted = tree_.count_entry(); !counted.ok()) return counted;
  totals_.entries = tree_.entries();
  Result<const Fd*> parent = tree_.directory(name.parent);
  if (!parent.ok()) return std::move(parent.failure());
  const Fd& dir = *parent.value();
  if (name.kind == NameKind::kOpaque) {
    if (name.parent.empty()) totals_.opaque_root = true;
    return tree_.mark_opaque(dir);
  }
  if (name.kind == NameKind::kWhiteout) return hide(dir, name.leaf);
  return create(reader, entry, name.parent.empty() ? name.leaf : name.parent + '/' + name.leaf, dir, name.leaf);
}

Status Layer::create(archive* reader, archive_entry* entry, const std::string& path, const Fd& dir,
                     const std::string& leaf) {
  if (archive_entry_hardlink(entry) != nullptr) return hard_link(entry, dir, leaf);
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
      return regular_file(reader, entry, dir, leaf);
    case AE_IFDIR:
      return directory_entry(entry, path, dir, leaf);
    case AE_IFLNK:
      return symbolic_link(entry, dir, leaf);
    case AE_IFIFO:
    case AE_IFSOCK:
      return special(entry, dir, leaf);
    default:
      return layer_failure("malformed", "the entry has an unknown type");
  }
}

// A whiteout hides lower layers only: what this layer itself has there stays (image-spec layer.md).
Status Layer::hide(const Fd& dir, const std::string& leaf) {
  // 0:0 is overlayfs's whiteout; the kernel lets anyone make it since 5.8, so CAP_MKNOD is not needed.
  if (::mknodat(dir.get(), leaf.c_str(), S_IFCHR, 0) == 0) return {};
  if (errno != EEXIST) return host_failure("mknodat");
  struct stat info {};
  if (!stat_leaf(dir, leaf.c_str(), info)) return host_failure("fstatat");
  return S_ISDIR(info.st_mode) ? tree_.mark_opaque(dir, leaf) : Status{};
}

Status Layer::remember_time(const std::string& path, archive_entry* entry) {
  time_bytes_ += path.size() + sizeof(DirectoryTime);
  if (time_bytes_ > kMaxTimeBytes) return layer_failure("tooMany", "the layer's directory names are too long in all");
  times_.push_back({path, modified_time(entry)});
  return {};
}

Status Layer::finish() {
  totals_.entries = tree_.entries();
  for (const DirectoryTime& time : times_) {
    const Fd made = open_in_root(tree_.root(), time.path.empty() ? "." : time.path.c_str(), O_RDONLY | O_DIRECTORY);
    // A later entry may have replaced the directory.
    if (!made.valid()) continue;
    if (Status done = apply_time(made, time.modified); !done.ok()) return done;
  }
  return {};
}

}  // namespace bulkhead::unpack
