// A 16550 UART: the console of kernels that have nothing else yet.
#pragma once

#include <mutex>

#include "devices/bus.h"
#include "devices/output.h"
#include "events/event_fd.h"

namespace bulkhead::vm {

/** What a driver relies on. */
struct SerialState {
  uint8_t fifo[64];
  uint8_t count;
  uint8_t interruptEnable;
  uint8_t lineControl;
  uint8_t modemControl;
  uint8_t scratch;
  uint8_t divisor[2];
  uint8_t fifoEnabled;
  uint8_t emptyPending;
};

/** Transmits at once, receives into a FIFO of 64 bytes (what does not fit stays with the sender). */
class Serial : public BusDevice {
 public:
  Serial(Output output, const EventFd* interrupt) : output_(std::move(output)), interrupt_(interrupt) {}

  /** What is left of a line is written. */
  ~Serial() override;

  void read(uint64_t offset, uint8_t* data, uint32_t size) override;
  void write(uint64_t offset, const uint8_t* data, uint32_t size) override;
  /** Input for the guest; answers how much of it was taken. */
  size_t receive(const uint8_t* data, size_t size);
  uint64_t droppedBytes();
  /** What it wrote of a line so far is with its reader then. */
  SerialState save();
  /** Any state is one that a driver could have brought about, but for the count. An interrupt that is due is raised. */
  bool load(const SerialState& state);

 private:
  static constexpr size_t kFifoBytes = sizeof SerialState::fifo;
  static constexpr size_t kLineBytes = 256;

  uint8_t readRegister(uint64_t offset);
  void writeRegister(uint64_t offset, uint8_t value);
  void transmit(uint8_t byte);
  void flush();
  bool push(uint8_t byte);
  uint8_t pop();
  uint8_t cause() const;
  uint8_t modemStatus() const;
  void updateInterrupt();

  std::mutex lock_;
  Output output_;
  const EventFd* interrupt_;
  uint8_t line_[kLineBytes] = {};
  size_t lineBytes_ = 0;
  uint8_t fifo_[kFifoBytes] = {};
  size_t first_ = 0;
  size_t count_ = 0;
  uint8_t interruptEnable_ = 0;
  uint8_t lineControl_ = 0;
  uint8_t modemControl_ = 0;
  uint8_t scratch_ = 0;
  uint8_t divisor_[2] = {12, 0};
  bool fifoEnabled_ = false;
  /** The transmitter has become empty and the guest has not been told. */
  bool emptyPending_ = false;
  uint8_t lastCause_ = 1;
};

}  // namespace bulkhead::vm
