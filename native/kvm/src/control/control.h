// Whoever started a monitor asks it and tells it what to do, by a socket.
#pragma once

#include <memory>
#include <string>

#include "control/request.h"
#include "events/listener.h"
#include "machine/machine.h"

namespace bulkhead::vm {

/**
 * One request is one message of one word, one answer one message of one JSON object, in the order of the requests. In
 * the loop's thread. The other end may go away; the machine runs on.
 */
class Control : public Readiness {
 public:
  /** At a time. */
  static constexpr uint64_t kAskers = 8;

  /**
   * Before the machine runs. `socket`: one that is connected, or one that listens. `calls`: what its threads may do, as
   * JSON, for `view`. `machine` outlives it.
   * @returns EINVAL when the socket does not keep messages apart (SOCK_SEQPACKET)
   */
  static Result<std::unique_ptr<Control>> attach(Fd socket, Machine* machine, std::string calls);

  void onReady(uint64_t token, uint32_t events) override;

 private:
  static constexpr uint64_t kListener = kAskers;

  Control(Machine* machine, std::string calls) : machine_(machine), calls_(std::move(calls)) {}
  /** @returns EUSERS when there are as many as there may be */
  Status take(Fd asker);
  std::string answer(Request* asked);
  std::string save(Request* asked);
  std::string state() const;
  std::string pause(bool paused);

  Listener listener_;
  Fd askers_[kAskers];
  uint16_t admitted_ = 0;
  Machine* machine_;
  std::string calls_;
  bool paused_ = false;
};

}  // namespace bulkhead::vm
