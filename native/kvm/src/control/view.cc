#include "control/view.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace bulkhead::vm {
namespace {

[[gnu::format(printf, 2, 3)]] void print(std::string* to, const char* format, ...) {
  char text[256];
  va_list values;
  va_start(values, format);
  const int size = vsnprintf(text, sizeof text, format, values);
  va_end(values);
  if (size > 0) to->append(text, std::min(static_cast<size_t>(size), sizeof text - 1));
}

const char* nameOf(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::net:
      return "net";
    case DeviceKind::block:
      return "block";
    case DeviceKind::console:
      return "console";
    case DeviceKind::entropy:
      return "entropy";
    case DeviceKind::balloon:
      return "balloon";
    case DeviceKind::vsock:
      return "vsock";
    case DeviceKind::files:
      return "files";
  }
  return "unknown";
}

}  // namespace

std::string viewOf(Machine* machine, const std::string& calls) {
  std::string view = "{";
  const ExitCounts exits = machine->exits();
  print(&view,
        "\"exits\":{\"portReads\":%lu,\"portWrites\":%lu,\"memoryReads\":%lu,\"memoryWrites\":%lu,\"unclaimed\":%lu}",
        exits.portReads, exits.portWrites, exits.memoryReads, exits.memoryWrites, exits.unclaimed);
  view += ",\"ports\":[";
  const char* comma = "";
  for (const BusRange& range : machine->portRanges()) {
    print(&view, "%s{\"first\":%lu,\"count\":%lu,\"uses\":%lu}", comma, range.address, range.sizeBytes,
          range.uses->load());
    comma = ",";
  }
  view += "],\"devices\":[";
  comma = "";
  for (uint32_t index = 0; index < machine->transports().count; ++index) {
    Transport& transport = *machine->transports()[index];
    const BusRange& range = machine->deviceRanges()[index];
    const TransportCounts counts = transport.counts();
    print(&view,
          "%s{\"kind\":\"%s\",\"address\":%lu,\"sizeBytes\":%lu,\"uses\":%lu,\"queues\":%u,\"doorbells\":%lu,"
          "\"interrupts\":%lu,\"faults\":%lu}",
          comma, nameOf(transport.kind()), range.address, range.sizeBytes, range.uses->load(),
          transport.doorbellCount(), counts.doorbells, counts.interrupts, counts.faults);
    comma = ",";
  }
  const auto hypercalls = machine->hypercalls();
  view += "],\"hypercalls\":" + (hypercalls.has_value() ? std::to_string(*hypercalls) : "null");
  view += ",\"calls\":" + calls + "}";
  return view;
}

std::string namesOf(Span<const AllowedCall> calls) {
  std::string names = "[";
  for (uint32_t index = 0; index < calls.count; ++index) {
    bool known = false;
    for (uint32_t before = 0; before < index; ++before) known = known || calls[before].number == calls[index].number;
    if (!known) print(&names, "%s\"%s\"", names.size() > 1 ? "," : "", calls[index].name);
  }
  return names + "]";
}

}  // namespace bulkhead::vm
