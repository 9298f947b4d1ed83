#pragma once

#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace bulkhead::unpack {

// Builds tar bytes by hand, so that tests can say what no honest writer would.
class TarBytes {
 public:
  struct Entry {
    std::string name;
    char type = '0';
    std::string data;
    std::string link;
    unsigned mode = 0644;
    unsigned uid = 0;
    unsigned gid = 0;
    long modified = 1'000'000'000;
  };

  TarBytes& add(const Entry& entry) {
    std::string block(512, '\0');
    put(block, 0, 100, entry.name);
    number(block, 100, 8, entry.mode);
    number(block, 108, 8, entry.uid);
    number(block, 116, 8, entry.gid);
    number(block, 124, 12, entry.data.size());
    number(block, 136, 12, static_cast<unsigned long>(entry.modified));
    block[156] = entry.type;
    put(block, 157, 100, entry.link);
    put(block, 257, 6, "ustar");
    put(block, 263, 2, "00");
    std::memset(block.data() + 148, ' ', 8);
    unsigned sum = 0;
    for (const char byte : block) sum += static_cast<unsigned char>(byte);
    std::snprintf(block.data() + 148, 8, "%06o", sum);
    bytes_ += block + entry.data;
    bytes_.append((512 - entry.data.size() % 512) % 512, '\0');
    return *this;
  }

  // A pax header for the entry that follows.
  TarBytes& pax(const std::vector<std::pair<std::string, std::string>>& records) {
    std::string body;
    for (const auto& [key, value] : records) {
      std::size_t length = key.size() + value.size() + 3;
      while (std::to_string(length).size() + key.size() + value.size() + 3 != length) {
        length = std::to_string(length).size() + key.size() + value.size() + 3;
      }
      body += std::to_string(length) + ' ' + key + '=' + value + '\n';
    }
    return add({.name = "pax", .type = 'x', .data = body, .link = {}});
  }

  std::string end() const { return bytes_ + std::string(1024, '\0'); }
  const std::string& unfinished() const { return bytes_; }

 private:
  static void put(std::string& block, std::size_t at, std::size_t room, const std::string& text) {
    std::memcpy(block.data() + at, text.data(), text.size() < room ? text.size() : room);
  }
  static void number(std::string& block, std::size_t at, int room, unsigned long value) {
    char text[24];
    std::snprintf(text, sizeof text, "%0*lo", room - 1, value);
    put(block, at, static_cast<std::size_t>(room), text);
  }
  std::string bytes_;
};

}  // namespace bulkhead::unpack
