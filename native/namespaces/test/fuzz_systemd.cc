// Bytes of a bus: what is decoded stays within them, and reads of its body end.
#include <cstdint>
#include <cstdlib>

#include "systemd/message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bulkhead::systemd;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Message message;
  if (!decodeMessage(bytes, &message)) return 0;
  const auto inside = [&](std::string_view part) {
    if (part.data() != nullptr && (part.data() < bytes.data() || part.end() > bytes.end())) abort();
  };
  for (const std::string_view part :
       {message.member, message.interface, message.errorName, message.signature, message.body}) {
    inside(part);
  }
  Reader body(message.body);
  std::string_view types = message.signature;
  while (!types.empty() && body.skip(&types)) continue;
  Reader texts(message.body);
  std::string_view text;
  while (texts.text(&text)) inside(text);
  return 0;
}
