// Plan bytes: "BHPL", version, kind, then the fields of the struct in order, little-endian, lengths first.
#pragma once

#include <string>

#include "plan/plan.h"
#include "sys/arena.h"

namespace bulkhead::plan {

/** A plan above this is refused on both sides. */
inline constexpr size_t kMaxPlanBytes = 1 << 20;
/** What a decoder's arena must offer for any plan of kMaxPlanBytes: the widest struct against its fewest bytes. */
inline constexpr size_t kPlanArenaBytes = 16 << 20;

std::string encode(const Container& container);
std::string encode(const Exec& exec);
std::string encode(const Birth& birth);

/** False on anything but a well-formed plan; text points into `bytes`, arrays into `arena`. */
bool decode(std::string_view bytes, Arena* arena, Container* container);
bool decode(std::string_view bytes, Arena* arena, Exec* exec);
bool decode(std::string_view bytes, Arena* arena, Birth* birth);
/** The bytes say that they are a birth; whether they are a good one `decode` says. */
bool isBirth(std::string_view bytes);

}  // namespace bulkhead::plan
