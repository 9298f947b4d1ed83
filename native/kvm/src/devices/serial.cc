// Registers and bits: National Semiconductor, PC16550D data sheet.
#include "devices/serial.h"

#include <cstring>

namespace bulkhead::vm {
namespace {

enum Register : uint64_t {
  kData = 0,
  kInterruptEnable = 1,
  kInterruptCause = 2,  // written: FIFO control
  kLineControl = 3,
  kModemControl = 4,
  kLineStatus = 5,
  kModemStatus = 6,
  kScratch = 7,
};

constexpr uint8_t kReceiveEnabled = 0x01;
constexpr uint8_t kEmptyEnabled = 0x02;
constexpr uint8_t kNoCause = 0x01;
constexpr uint8_t kCauseEmpty = 0x02;
constexpr uint8_t kCauseReceived = 0x04;
constexpr uint8_t kFifosOn = 0xc0;
constexpr uint8_t kDivisorLatch = 0x80;
constexpr uint8_t kLoopback = 0x10;
constexpr uint8_t kDataReady = 0x01;
constexpr uint8_t kTransmitterEmpty = 0x60;

}  // namespace

void Serial::read(uint64_t offset, uint8_t* data, uint32_t size) {
  const std::lock_guard guard(lock_);
  // Registers are a byte each; wider accesses reach none of them.
  if (size == 1) data[0] = readRegister(offset);
}

void Serial::write(uint64_t offset, const uint8_t* data, uint32_t size) {
  const std::lock_guard guard(lock_);
  if (size == 1) writeRegister(offset, data[0]);
}

size_t Serial::receive(const uint8_t* data, size_t size) {
  const std::lock_guard guard(lock_);
  size_t taken = 0;
  while (taken < size && push(data[taken])) ++taken;
  updateInterrupt();
  return taken;
}

Serial::~Serial() {
  flush();
}

SerialState Serial::save() {
  const std::lock_guard guard(lock_);
  flush();
  SerialState state = {};
  for (size_t index = 0; index < count_; ++index) state.fifo[index] = fifo_[(first_ + index) % kFifoBytes];
  state.count = static_cast<uint8_t>(count_);
  state.interruptEnable = interruptEnable_;
  state.lineControl = lineControl_;
  state.modemControl = modemControl_;
  state.scratch = scratch_;
  state.divisor[0] = divisor_[0];
  state.divisor[1] = divisor_[1];
  state.fifoEnabled = fifoEnabled_;
  state.emptyPending = emptyPending_;
  return state;
}

bool Serial::load(const SerialState& state) {
  const std::lock_guard guard(lock_);
  if (state.count > kFifoBytes) return false;
  memcpy(fifo_, state.fifo, sizeof fifo_);
  first_ = 0;
  count_ = state.count;
  interruptEnable_ = state.interruptEnable & 0x0f;
  lineControl_ = state.lineControl;
  modemControl_ = state.modemControl & 0x1f;
  scratch_ = state.scratch;
  divisor_[0] = state.divisor[0];
  divisor_[1] = state.divisor[1];
  fifoEnabled_ = state.fifoEnabled != 0;
  emptyPending_ = state.emptyPending != 0;
  lastCause_ = kNoCause;
  updateInterrupt();
  return true;
}

uint64_t Serial::droppedBytes() {
  const std::lock_guard guard(lock_);
  return output_.droppedBytes();
}

uint8_t Serial::readRegister(uint64_t offset) {
  const bool latch = (lineControl_ & kDivisorLatch) != 0;
  switch (offset) {
    case kData:
      return latch ? divisor_[0] : pop();
    case kInterruptEnable:
      return latch ? divisor_[1] : interruptEnable_;
    case kInterruptCause: {
      const uint8_t now = cause();
      if (now == kCauseEmpty) emptyPending_ = false;
      updateInterrupt();
      return now | (fifoEnabled_ ? kFifosOn : 0);
    }
    case kLineControl:
      return lineControl_;
    case kModemControl:
      return modemControl_;
    case kLineStatus:
      return kTransmitterEmpty | (count_ > 0 ? kDataReady : 0);
    case kModemStatus:
      return modemStatus();
    default:
      return scratch_;
  }
}

void Serial::writeRegister(uint64_t offset, uint8_t value) {
  const bool latch = (lineControl_ & kDivisorLatch) != 0;
  switch (offset) {
    case kData:
      if (latch) divisor_[0] = value;
      if (!latch) transmit(value);
      break;
    case kInterruptEnable:
      if (latch) {
        divisor_[1] = value;
        break;
      }
      // Turning the interrupt on while the transmitter is empty raises it; one that is on and due stays so.
      if (((value ^ interruptEnable_) & kEmptyEnabled) != 0) emptyPending_ = (value & kEmptyEnabled) != 0;
      interruptEnable_ = value & 0x0f;
      // A driver that has no more to send turns the interrupt off.
      if ((value & kEmptyEnabled) == 0) flush();
      break;
    case kInterruptCause:
      fifoEnabled_ = (value & 0x01) != 0;
      if ((value & 0x02) != 0) count_ = 0;
      break;
    case kLineControl:
      lineControl_ = value;
      break;
    case kModemControl:
      modemControl_ = value & 0x1f;
      break;
    case kScratch:
      scratch_ = value;
      break;
    default:
      break;
  }
  updateInterrupt();
}

void Serial::transmit(uint8_t byte) {
  if ((modemControl_ & kLoopback) != 0) {
    push(byte);
  } else {
    line_[lineBytes_++] = byte;
    if (byte == '\n' || lineBytes_ == kLineBytes) flush();
  }
  emptyPending_ = true;
}

/** Whole lines, because each write costs the reader a message; a guest that waits for input has written a prompt. */
void Serial::flush() {
  output_.write(line_, lineBytes_);
  lineBytes_ = 0;
}

bool Serial::push(uint8_t byte) {
  if (count_ == kFifoBytes) return false;
  fifo_[(first_ + count_++) % kFifoBytes] = byte;
  return true;
}

uint8_t Serial::pop() {
  if (count_ == 0) return 0;
  const uint8_t byte = fifo_[first_];
  first_ = (first_ + 1) % kFifoBytes;
  --count_;
  updateInterrupt();
  return byte;
}

uint8_t Serial::cause() const {
  if ((interruptEnable_ & kReceiveEnabled) != 0 && count_ > 0) return kCauseReceived;
  if ((interruptEnable_ & kEmptyEnabled) != 0 && emptyPending_) return kCauseEmpty;
  return kNoCause;
}

/** Carrier, ring, ready and clear to send; in loopback they are the modem control's outputs. */
uint8_t Serial::modemStatus() const {
  constexpr uint8_t kConnected = 0xb0;
  if ((modemControl_ & kLoopback) == 0) return kConnected;
  const uint8_t control = modemControl_;
  return static_cast<uint8_t>((control & 1) << 5 | (control & 2) << 3 | (control & 4) << 4 | (control & 8) << 4);
}

/** The line is an edge for KVM: raised when a cause appears, and again when another follows it. */
void Serial::updateInterrupt() {
  const uint8_t now = cause();
  if (now != lastCause_ && now != kNoCause) interrupt_->signal();
  // A cause that stays although something was read or sent is a new one.
  lastCause_ = now;
}

}  // namespace bulkhead::vm
