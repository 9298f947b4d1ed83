#include "report.h"

#include <cstring>

namespace bulkhead::unpack {
namespace {

// Length of the valid UTF-8 sequence at the start, 0 if there is none (RFC 3629 table 3-7, overlongs refused).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : static_cast<unsigned char>(0);
  };
  const unsigned lead = byte(0);
  const std::size_t length = lead >= 0xf0 && lead <= 0xf4  ? 4
                             : lead >= 0xe0 && lead < 0xf0 ? 3
                             : lead >= 0xc2 && lead < 0xe0 ? 2
                                                           : 0;
  for (std::size_t at = 1; at < length; ++at) {
    if ((byte(at) & 0xc0) != 0x80) return 0;
  }
  const unsigned second = byte(1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
      (lead == 0xf4 && second > 0x8f)) {
    return 0;
  }
  return length;
}

std::string field(const char* name, std::uint64_t value) {
  return '"' + std::string(name) + "\":" + std::to_string(value);
}

}  // namespace

std::string json_string(std::string_view bytes) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  while (!bytes.empty()) {
    const auto first = static_cast<unsigned char>(bytes[0]);
    std::size_t taken = 1;
    if (first == '"' || first == '\\') {
      out += '\\';
      out += bytes[0];
    } else if (first >= 0x20 && first < 0x7f) {
      out += bytes[0];
    } else if ((taken = utf8_length(bytes)) > 0) {
      out += bytes.substr(0, taken);
    } else {
      taken = 1;
      out += "\\u00";
      out += kHex[first >> 4];
      out += kHex[first & 15];
    }
    bytes.remove_prefix(taken);
  }
  return out + '"';
}

std::string success_line(const Totals& totals) {
  return '{' + field("entries", totals.entries) + ',' + field("bytes", totals.bytes) + ',' +
         field("skippedDevices", totals.skipped_devices) + ',' + field("skippedXattrs", totals.skipped_xattrs) +
         ",\"opaqueRoot\":" + (totals.opaque_root ? "true" : "false") + "}\n";
}

std::string failure_line(const Failure& failure) {
  std::string detail = failure.detail;
  if (failure.error != 0) {
    const char* text = ::strerrordesc_np(failure.error);
    detail += ": " + std::string(text == nullptr ? "unknown error" : text);
  }
  return "{\"error\":" + json_string(failure.code) + ",\"path\":" + json_string(failure.path) +
         ",\"detail\":" + json_string(detail) + ',' + field("errno", static_cast<std::uint64_t>(failure.error)) + "}\n";
}

int exit_code(const Failure& failure) {
  return failure.fault == Fault::kLayer ? 1 : 3;
}

}  // namespace bulkhead::unpack
