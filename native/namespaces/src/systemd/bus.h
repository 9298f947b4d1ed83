// A connection to systemd: its own socket, or the system bus where only that can be reached.
#pragma once

#include <deque>
#include <string>
#include <string_view>

#include "sys/fd.h"
#include "sys/result.h"
#include "systemd/message.h"

namespace bulkhead::systemd {

/** Why something did not work, in words; and systemd's name for it when that is where it failed. */
struct BusError {
  std::string name;
  std::string text;
};

class Bus {
 public:
  /** Everything on this connection is over within `timeoutMs` of its opening. */
  bool open(int timeoutMs, BusError* error);
  /** Calls a method of systemd's manager and waits for its answer, whose body goes to `answer`. */
  bool callManager(std::string_view member, std::string_view signature, const Values& arguments, std::string* answer,
                   BusError* error);
  /** Waits for the end of a job ("/org/freedesktop/systemd1/job/N"); anything but "done" is an error. */
  bool awaitJob(std::string_view job, BusError* error);

 private:
  bool connectTo(const char* path, BusError* error);
  bool authenticate(BusError* error);
  bool subscribe(BusError* error);
  bool call(const Call& call, std::string* answer, BusError* error);
  bool sendBytes(std::string_view bytes, BusError* error);
  /** Exactly this many more bytes. */
  bool receiveBytes(size_t size, std::string* bytes, BusError* error);
  bool receiveMessage(std::string* bytes, Message* message, BusError* error);
  bool awaitReady(short events, BusError* error);

  Fd socket_;
  int64_t deadlineMs_ = 0;
  uint32_t serial_ = 0;
  /** Signals that came while something else was waited for. */
  std::deque<std::string> signals_;
};

}  // namespace bulkhead::systemd
