// linux.netDevices: links of the host that move into a container's network namespace.
#pragma once

#include <string>
#include <vector>

#include "net/listing.h"
#include "oci/session.h"
#include "plan/json.h"
#include "sys/fd.h"

namespace bulkhead::oci {

class NetDevices {
 public:
  NetDevices() = default;
  NetDevices(const NetDevices&) = delete;
  NetDevices& operator=(const NetDevices&) = delete;
  /** Gives back what was moved, unless it was kept: a virtual link would end with the namespace it is in. */
  ~NetDevices();

  /** What a checked specification asks for. */
  void read(const plan::View& spec);
  bool empty() const { return wanted_.empty(); }
  /** The path of the namespace, when the specification names one that is there already. */
  const std::string& joinedPath() const { return joinedPath_; }
  /**
   * Moves every device to the namespace that `space` names, by its name there, with its permanent global addresses, and
   * sets it up.
   */
  bool move(Session* session, const std::string& space);
  void keep() { moved_.clear(); }

 private:
  struct Wanted {
    std::string name;
    std::string nameInside;
  };
  struct Moved {
    std::string name;
    bool up;
    std::vector<net::Address> addresses;
    uint32_t indexInside;
  };
  Status moveOne(const Wanted& wanted, int host, int inside);
  Status giveBack(const Moved& moved, int host, int inside);

  std::vector<Wanted> wanted_;
  std::vector<Moved> moved_;
  std::string joinedPath_;
  Fd hostSpace_;
  Fd space_;
};

}  // namespace bulkhead::oci
