// A socket of the host's that programs connect to.
#pragma once

#include "sys/fd.h"

namespace bulkhead::vm {

/**
 * When no descriptor is left, who connects is hung up on: one is kept for that. Left waiting, he would be told of again
 * and again.
 */
class Listener {
 public:
  /** None. */
  Listener() = default;
  /** Before the jail. */
  explicit Listener(Fd socket);

  bool valid() const { return socket_.valid(); }
  int fd() const { return socket_.get(); }
  /** The next stream, which does not wait; none when there is no other, or it was hung up on. */
  Fd accept();

 private:
  Fd take() const;

  Fd socket_;
  /** Keeps a descriptor: what it is makes no difference. */
  Fd kept_;
};

}  // namespace bulkhead::vm
