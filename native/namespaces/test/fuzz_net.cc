// Any bytes: as JSON they become consistent messages or are refused; as the kernel's answer they are read within
// bounds.
#include <cstdlib>

#include "net/listing.h"

namespace {

using namespace bulkhead;

/** Every message's length adds up to the batch, and each answers to one operation. */
void check(const net::Batch& batch) {
  size_t seen = 0;
  net::Messages messages(batch.messages.bytes());
  while (messages.next()) seen += (messages.head().nlmsg_len + 3) & ~size_t{3};
  if (seen != batch.messages.bytes().size()) abort();
}

template <class Item>
void decode(std::string_view bytes, void (*decoder)(std::string_view, std::vector<Item>*)) {
  std::vector<Item> items;
  decoder(bytes, &items);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const auto encode : {net::encodeRoute, net::encodeRules}) {
    net::Batch batch;
    net::RequestError error;
    if (encode(bytes, &batch, &error)) {
      check(batch);
    } else if (error.message.empty()) {
      abort();
    }
  }
  decode(bytes, net::decodeLinks);
  decode(bytes, net::decodeAddresses);
  decode(bytes, net::decodeTables);
  decode(bytes, net::decodeElements);
  (void)net::decodeAnswer(bytes, NLM_F_ACK_TLVS);
  (void)net::decodeAnswer(bytes, NLM_F_ACK_TLVS | NLM_F_CAPPED);
  return 0;
}
