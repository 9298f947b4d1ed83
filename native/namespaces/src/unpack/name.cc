#include "name.h"

#include <climits>

namespace bulkhead::unpack {
namespace {

constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr std::string_view kMetadataPrefix = ".wh..wh.";
constexpr std::string_view kOpaqueName = ".wh..wh..opq";

}  // namespace

Result<EntryName> parse_name(std::string_view raw) {
  if (raw.empty()) return layer_failure("malformed", "an entry has no name");
  if (raw.size() >= PATH_MAX) return layer_failure("malformed", "the name is longer than 4095 bytes");

  EntryName name;
  std::size_t start = 0;
  while (start <= raw.size()) {
    std::size_t end = raw.find('/', start);
    if (end == std::string_view::npos) end = raw.size();
    const std::string_view component = raw.substr(start, end - start);
    start = end + 1;
    if (component.empty() || component == ".") continue;
    if (component == "..") return layer_failure("escape", "the name contains '..'");
    if (component.size() > NAME_MAX) return layer_failure("malformed", "a part of the name is longer than 255 bytes");
    if (component.find('\0') != std::string_view::npos) return layer_failure("malformed", "the name contains NUL");

    if (name.leaf.starts_with(kMetadataPrefix)) {
      name.kind = NameKind::kMetadata;
    } else if (name.leaf.starts_with(kWhiteoutPrefix)) {
      return layer_failure("malformed", "a whiteout is used as a directory");
    }
    if (!name.leaf.empty()) {
      if (!name.parent.empty()) name.parent += '/';
      name.parent += name.leaf;
    }
    name.leaf = component;
  }

  if (name.kind == NameKind::kMetadata || !name.leaf.starts_with(kWhiteoutPrefix)) return name;
  if (name.leaf == kOpaqueName) {
    name.kind = NameKind::kOpaque;
    return name;
  }
  if (name.leaf.starts_with(kMetadataPrefix)) {
    name.kind = NameKind::kMetadata;
    return name;
  }
  name.leaf.erase(0, kWhiteoutPrefix.size());
  if (name.leaf.empty() || name.leaf == "." || name.leaf == "..") {
    return layer_failure("escape", "a whiteout names no entry of its directory");
  }
  name.kind = NameKind::kWhiteout;
  return name;
}

}  // namespace bulkhead::unpack
