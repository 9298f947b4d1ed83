// Any bytes as what a back end of vhost-user says: before the machine runs, while a driver starts, and when it stops.
#include <sys/socket.h>
#include <unistd.h>

#include "driver.h"
#include "sys/syscalls.h"
#include "vhost/shared_files.h"

namespace bulkhead::vm {
namespace {

/** The answers to the first questions, as they should be: what follows is the fuzzer's. */
void answerAsItShould(int socket) {
  constexpr uint64_t kFeatures = uint64_t{1} << 32 | uint64_t{1} << 30 | uint64_t{1} << 29;
  const struct {
    VhostHeader header;
    uint64_t value;
  } __attribute__((packed)) answers[] = {{{VhostRequest::getFeatures, 5, sizeof kFeatures}, kFeatures},
                                         {{VhostRequest::getProtocolFeatures, 5, sizeof kFeatures}, kVhostReplyAck}};
  (void)!send(socket, answers, sizeof answers, MSG_NOSIGNAL);
}

void drive(std::unique_ptr<Device> device) {
  Driver driver(std::move(device));
  driver.start(Driver::kEventIndex);
  driver.ring(0);
  driver.wait(0);
  driver.set(0x70, 0);
}

}  // namespace
}  // namespace bulkhead::vm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bulkhead;
  // More would not fit into a socket that nobody reads.
  if (size == 0 || size > 32 * 1024) return 0;
  sys::Pair pair = sys::socketPair(SOCK_STREAM).take();
  if ((data[0] & 1) != 0) vm::answerAsItShould(pair.right.get());
  (void)!send(pair.right.get(), data + 1, size - 1, MSG_NOSIGNAL);
  // What does not come is not waited for.
  shutdown(pair.right.get(), SHUT_WR);
  auto files = vm::SharedFiles::create(std::move(pair.left), "share0");
  if (files.ok()) vm::drive(files.take());
  return 0;
}
