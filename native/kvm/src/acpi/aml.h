// ACPI Machine Language, as much as describes devices at fixed places: ACPI 6.4, chapters 6.4 and 20.2.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bulkhead::vm::aml {

/** Bytes of AML or of a resource template. */
using Bytes = std::string;

Bytes integer(uint64_t value);
Bytes text(std::string_view value);
/** A seven-character EISA id such as PNP0501, packed. */
Bytes eisaId(std::string_view id);
/** `name` is up to four characters of a name segment, or begins with a backslash. */
Bytes named(std::string_view name, const Bytes& value);
Bytes scope(std::string_view name, const Bytes& content);
Bytes device(std::string_view name, const Bytes& content);
Bytes package(std::initializer_list<uint64_t> values);
/** Called with so many arguments. */
Bytes method(std::string_view name, uint8_t arguments, const Bytes& content);
/** Tells the driver of a device that is found by its last segment. */
Bytes notify(std::string_view device, uint64_t value);

/** A buffer of resource descriptors; the end tag is added. */
Bytes resources(const Bytes& descriptors);
Bytes memory32(uint32_t address, uint32_t sizeBytes);
Bytes ports(uint16_t first, uint8_t count);
/** Edge-triggered, active high, of this device alone. */
Bytes interrupt(uint32_t gsi);

}  // namespace bulkhead::vm::aml
