#include "acpi/aml.h"

namespace bulkhead::vm::aml {
namespace {

void append(Bytes* bytes, uint64_t value, size_t size) {
  for (size_t index = 0; index < size; ++index) bytes->push_back(static_cast<char>(value >> (8 * index)));
}

/** Length of a package with `content`, its own bytes counted: 6 bits in one byte, or 4 and whole bytes more. */
Bytes packageLength(size_t content) {
  if (content + 1 < 0x40) return Bytes(1, static_cast<char>(content + 1));
  size_t extra = 1;
  while (extra < 3 && content + 1 + extra >= size_t{1} << (4 + 8 * extra)) ++extra;
  const size_t total = content + 1 + extra;
  Bytes bytes(1, static_cast<char>(extra << 6 | (total & 0xf)));
  append(&bytes, total >> 4, extra);
  return bytes;
}

/** A name of one segment, filled up to four characters. */
Bytes nameString(std::string_view name) {
  Bytes bytes;
  if (name.starts_with('\\')) {
    bytes.push_back('\\');
    name.remove_prefix(1);
  }
  bytes += name;
  bytes.append(4 - name.size(), '_');
  return bytes;
}

Bytes sized(std::string_view opcode, const Bytes& content) {
  return Bytes(opcode) + packageLength(content.size()) + content;
}

}  // namespace

Bytes integer(uint64_t value) {
  if (value <= 1) return Bytes(1, static_cast<char>(value));
  const size_t size = value <= 0xff ? 1 : value <= 0xffff ? 2 : value <= 0xffffffff ? 4 : 8;
  constexpr char kPrefix[] = {0, 0x0a, 0x0b, 0, 0x0c, 0, 0, 0, 0x0e};
  Bytes bytes(1, kPrefix[size]);
  append(&bytes, value, size);
  return bytes;
}

Bytes text(std::string_view value) {
  return '\x0d' + Bytes(value) + '\0';
}

Bytes eisaId(std::string_view id) {
  const auto letter = [&](size_t index) { return static_cast<uint32_t>(id[index] - '@') & 0x1f; };
  const auto digit = [&](size_t index) {
    const char character = id[index];
    return static_cast<uint32_t>(character <= '9' ? character - '0' : character - 'A' + 10);
  };
  const uint32_t vendor = letter(0) << 10 | letter(1) << 5 | letter(2);
  const uint32_t product = digit(3) << 12 | digit(4) << 8 | digit(5) << 4 | digit(6);
  Bytes bytes(1, 0x0c);
  // Both halves are big-endian inside a little-endian word.
  for (const uint32_t half : {vendor, product}) append(&bytes, (half >> 8 & 0xff) | (half & 0xff) << 8, 2);
  return bytes;
}

Bytes named(std::string_view name, const Bytes& value) {
  return '\x08' + nameString(name) + value;
}

Bytes scope(std::string_view name, const Bytes& content) {
  return sized("\x10", nameString(name) + content);
}

Bytes device(std::string_view name, const Bytes& content) {
  return sized("\x5b\x82", nameString(name) + content);
}

Bytes package(std::initializer_list<uint64_t> values) {
  Bytes content(1, static_cast<char>(values.size()));
  for (const uint64_t value : values) content += integer(value);
  return sized("\x12", content);
}

Bytes method(std::string_view name, uint8_t arguments, const Bytes& content) {
  return sized("\x14", nameString(name) + static_cast<char>(arguments) + content);
}

Bytes notify(std::string_view device, uint64_t value) {
  return '\x86' + nameString(device) + integer(value);
}

Bytes resources(const Bytes& descriptors) {
  // An end tag whose checksum is 0 is not checked.
  const Bytes content = descriptors + Bytes("\x79\x00", 2);
  return sized("\x11", integer(content.size()) + content);
}

Bytes memory32(uint32_t address, uint32_t sizeBytes) {
  Bytes bytes("\x86\x09\x00\x01", 4);  // writable
  append(&bytes, address, 4);
  append(&bytes, sizeBytes, 4);
  return bytes;
}

Bytes ports(uint16_t first, uint8_t count) {
  Bytes bytes("\x47\x01", 2);  // all 16 address bits decoded
  append(&bytes, first, 2);
  append(&bytes, first, 2);
  append(&bytes, 1, 1);
  append(&bytes, count, 1);
  return bytes;
}

Bytes interrupt(uint32_t gsi) {
  Bytes bytes("\x89\x06\x00\x03\x01", 5);  // consumer, edge
  append(&bytes, gsi, 4);
  return bytes;
}

}  // namespace bulkhead::vm::aml
