// Properties of a systemd unit as StartTransientUnit and SetUnitProperties take them: an array of (name, variant).
#pragma once

#include <string>
#include <string_view>

#include "plan/context.h"
#include "systemd/message.h"

namespace bulkhead::systemd {

class Properties {
 public:
  /** Appends to `values`, where the array stands between other arguments. */
  explicit Properties(Values* values) : values_(values), array_(values->openArray(8)) {}
  void end() { values_->closeArray(array_); }

  void text(std::string_view name, std::string_view value);
  void flag(std::string_view name, bool value);
  void u32(std::string_view name, uint32_t value);
  void i32(std::string_view name, int32_t value);
  void u64(std::string_view name, uint64_t value);
  void i64(std::string_view name, int64_t value);
  /** An array of one number, as the processes of a scope are given. */
  void oneOf(std::string_view name, uint32_t value);
  /** A bit set, lowest byte first: CPUs and memory nodes. */
  void bits(std::string_view name, const Span<uint64_t>& words);

 private:
  void begin(std::string_view name, std::string_view type);

  Values* values_;
  Values::Array array_;
};

/** `linux.resources` as systemd knows it on cgroup v2; what it has no property for stays with the cgroup's files. */
bool putResources(plan::Context* context, const plan::View& resources, Properties* properties);
/**
 * An annotation "org.systemd.property.NAME" with a value as GVariant writes it: 'text', true, 5, "uint64 5". A name
 * that ends in "Sec" is told as systemd stores it, in microseconds.
 */
bool putAnnotation(std::string_view name, std::string_view value, Properties* properties);

}  // namespace bulkhead::systemd
