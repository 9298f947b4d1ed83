#include "snapshot/state_file.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

struct Head {
  char magic[8];
  uint32_t version;
  uint32_t contentBytes;
};
constexpr char kMagic[] = {'B', 'L', 'K', 'H', '-', 'V', 'M', '\n'};

/** CRC-64 as in xz: every burst of up to 64 bits is found. */
constexpr std::array<uint64_t, 256> makeTable() {
  constexpr uint64_t kPolynomial = 0xc96c5795d7870f42;
  std::array<uint64_t, 256> table = {};
  for (uint64_t byte = 0; byte < 256; ++byte) {
    uint64_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ kPolynomial : value >> 1;
    table[byte] = value;
  }
  return table;
}

uint64_t checksum(std::string_view bytes) {
  static constexpr std::array<uint64_t, 256> kTable = makeTable();
  uint64_t value = ~uint64_t{0};
  for (const char byte : bytes) value = kTable[(value ^ static_cast<uint8_t>(byte)) & 0xff] ^ value >> 8;
  return ~value;
}

Error refusal(int err, std::string_view why) {
  return failure("state file", err, why);
}

}  // namespace

std::string sealState(std::string_view content) {
  Head head = {{}, kStateVersion, static_cast<uint32_t>(content.size())};
  memcpy(head.magic, kMagic, sizeof kMagic);
  std::string file(reinterpret_cast<const char*>(&head), sizeof head);
  file += content;
  const uint64_t sum = checksum(file);
  file.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  return file;
}

Result<std::string_view> openState(std::string_view file) {
  Head head;
  uint64_t sum;
  if (file.size() < sizeof head + sizeof sum || memcmp(file.data(), kMagic, sizeof kMagic) != 0) {
    return refusal(EBADMSG, "it is none");
  }
  memcpy(&head, file.data(), sizeof head);
  if (head.version != kStateVersion) return refusal(ENOTSUP, "it is of another version of this program");
  if (head.contentBytes != file.size() - sizeof head - sizeof sum) {
    return refusal(EBADMSG, "it is not as long as it says");
  }
  const std::string_view summed = file.substr(0, file.size() - sizeof sum);
  memcpy(&sum, file.data() + summed.size(), sizeof sum);
  if (sum != checksum(summed)) return refusal(EBADMSG, "it is not what was written: its checksum is another");
  return summed.substr(sizeof head);
}

Result<std::string> readState(int file) {
  std::string bytes;
  char part[16 * 1024];
  for (;;) {
    const long count = sys::retry([&] { return pread(file, part, sizeof part, static_cast<off_t>(bytes.size())); });
    if (count < 0) return refusal(errno, "it cannot be read");
    if (count == 0) return bytes;
    bytes.append(part, static_cast<size_t>(count));
    if (bytes.size() > kMaxStateBytes) return refusal(EFBIG, "it is longer than any");
  }
}

}  // namespace bulkhead::vm
