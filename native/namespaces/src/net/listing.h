// The kernel's lists of links, addresses, tables and set elements, decoded.
#pragma once

#include <string>
#include <vector>

#include "net/socket.h"

namespace bulkhead::net {

struct Link {
  uint32_t index = 0;
  std::string name;
  std::string kind;
  std::string mac;  // 6 bytes
  uint32_t group = 0;
  uint32_t master = 0;
  uint32_t mtu = 0;
  bool up = false;
};

struct Address {
  uint32_t index = 0;
  uint32_t prefix = 0;
  std::string bytes;
  std::string broadcast;  // IPv4 only; may be empty
  /** RT_SCOPE_* */
  uint8_t scope = 0;
  /** Not learnt from a router, and without an end. */
  bool permanent = false;
};

struct Table {
  std::string family;
  std::string name;
};

// Decoders of one datagram each: they take any bytes.
void decodeLinks(std::string_view datagram, std::vector<Link>* links);
void decodeAddresses(std::string_view datagram, std::vector<Address>* addresses);
void decodeTables(std::string_view datagram, std::vector<Table>* tables);
/** Key bytes of every element. */
void decodeElements(std::string_view datagram, std::vector<std::string>* keys);

Result<std::vector<Link>> listLinks(int socket);
Result<std::vector<Address>> listAddresses(int socket);
Result<std::vector<Table>> listTables(int socket);
Result<std::vector<std::string>> listElements(int socket, const Table& table, std::string_view set);

}  // namespace bulkhead::net
