#pragma once

#include <string>
#include <string_view>

#include "outcome.h"

namespace bulkhead::unpack {

// What a name asks for under the OCI image layer rules (image-spec layer.md, "Whiteouts").
enum class NameKind : std::uint8_t {
  kEntry,     // create it
  kWhiteout,  // hide `leaf` of the layers below
  kOpaque,    // hide everything the layers below have in `parent`
  kMetadata,  // AUFS bookkeeping (.wh..wh.plnk and the like): no meaning here
};

struct EntryName {
  NameKind kind = NameKind::kEntry;
  std::string parent;  // "" is the root of the layer
  std::string leaf;    // "" only for the root itself
};

// Names that a layer cannot create, so that the tool may: every `.wh.` name is interpreted.
inline constexpr const char* kTrashName = ".wh..wh.trash";

// Normalises an archive's name: leading slashes and `.` go, `..` is refused.
Result<EntryName> parse_name(std::string_view raw);

}  // namespace bulkhead::unpack
