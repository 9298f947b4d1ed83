#include "driver.h"

namespace bulkhead::vm {

Driver::Driver(std::unique_ptr<Device> device)
    : transport(Transport::create(std::move(device), memory, &loop).take()) {}

uint32_t Driver::reg(uint64_t offset) {
  uint32_t value = 0;
  transport->read(offset, reinterpret_cast<uint8_t*>(&value), sizeof value);
  return value;
}

void Driver::set(uint64_t offset, uint32_t value) {
  transport->write(offset, reinterpret_cast<const uint8_t*>(&value), sizeof value);
}

void Driver::begin(uint64_t features) {
  for (const uint32_t status : {0, 1, 3}) set(0x70, status);
  for (const uint32_t part : {0, 1}) {
    set(0x24, part);
    set(0x20, static_cast<uint32_t>((features | uint64_t{1} << 32) >> (part * 32)));
  }
  set(0x70, 0xb);
  for (uint16_t& index : published_) index = 0;
}

void Driver::start(uint64_t features) {
  begin(features);
  for (uint32_t queue = 0; queue < transport->doorbellCount(); ++queue) setUpQueue(queue);
  finish();
}

void Driver::setUpQueue(uint32_t queue, uint16_t size) {
  memset(memory.at(descriptors(queue), 0x10000), 0, 0x10000);
  set(0x30, queue);
  set(0x38, size);
  set(0x80, static_cast<uint32_t>(descriptors(queue)));
  set(0x90, static_cast<uint32_t>(available(queue)));
  set(0xa0, static_cast<uint32_t>(used(queue)));
  set(0x44, 1);
}

void Driver::describe(uint32_t queue, uint16_t index, const Buffer& buffer, int next) {
  ring::Descriptor descriptor = {buffer.address, buffer.sizeBytes, 0, 0};
  if (buffer.writable) descriptor.flags |= ring::kWritable;
  if (next >= 0) {
    descriptor.flags |= ring::kNext;
    descriptor.next = static_cast<uint16_t>(next);
  }
  memory.write(descriptors(queue) + index * sizeof descriptor, descriptor);
}

void Driver::publish(uint32_t queue, uint16_t head) {
  const uint16_t place = published_[queue]++ % kQueueSize;
  memory.write(available(queue) + 4 + place * 2, head);
  memory.write(available(queue) + 2, published_[queue]);
}

uint16_t Driver::add(uint32_t queue, const std::vector<Buffer>& buffers, uint16_t first) {
  for (size_t index = 0; index < buffers.size(); ++index) {
    const auto here = static_cast<uint16_t>(first + index);
    describe(queue, here, buffers[index], index + 1 < buffers.size() ? here + 1 : -1);
  }
  publish(queue, first);
  return first;
}

bool Driver::wait(int milliseconds) {
  auto turned = loop.turn(milliseconds);
  return turned.ok() && turned.value() == EventLoop::Turn::served;
}

bool Driver::waitForUsed(uint32_t queue, uint16_t count) {
  constexpr int kPatienceMs = 10'000;
  while (usedCount(queue) != count) {
    if (!wait(kPatienceMs)) return false;
  }
  return true;
}

uint16_t Driver::usedCount(uint32_t queue) {
  uint16_t count = 0;
  memory.read(used(queue) + 2, &count);
  return count;
}

Used Driver::usedAt(uint32_t queue, uint16_t index) {
  Used element = {};
  memory.read(used(queue) + 4 + index % kQueueSize * sizeof element, &element);
  return element;
}

bool Driver::interrupted() {
  uint64_t count = 0;
  return ::read(transport->interrupt(), &count, sizeof count) == sizeof count;
}

void Driver::put(uint64_t address, std::string_view bytes) {
  memcpy(memory.at(address, bytes.size()), bytes.data(), bytes.size());
}

std::string Driver::get(uint64_t address, size_t size) {
  return {reinterpret_cast<const char*>(memory.at(address, size)), size};
}

}  // namespace bulkhead::vm
