#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>

#include <cerrno>

#include "net/listing.h"
#include "runner.h"

namespace bulkhead {
namespace {

using net::Attributes;
using net::Batch;
using net::Messages;
using net::RequestError;

bool encodes(bool (*encode)(std::string_view, Batch*, RequestError*), const std::string& json, Batch* batch,
             std::string* why = nullptr) {
  RequestError error;
  const bool ok = encode(json, batch, &error);
  if (why != nullptr) *why = error.pointer + " " + error.message;
  return ok;
}

std::string refusal(bool (*encode)(std::string_view, Batch*, RequestError*), const std::string& json) {
  Batch batch;
  std::string why;
  return encodes(encode, json, &batch, &why) ? "accepted" : why;
}

TEST(aVethPairIsOneMessageWithItsPeerInside) {
  Batch batch;
  EXPECT(encodes(net::encodeRoute,
                 R"([{"op":"link.add","name":"left","kind":"veth","mtu":1400,"group":7,"oneQueue":true,
                     "peer":{"name":"eth0","mac":"02:00:00:00:00:01","index":9,"oneQueue":true}}])",
                 &batch));
  Messages messages(batch.messages.bytes());
  EXPECT(messages.next());
  EXPECT(messages.head().nlmsg_type == RTM_NEWLINK);
  bool peer = false;
  int queues = 0;
  for (Attributes link(messages.after(sizeof(struct ifinfomsg))); link.next();) {
    if (link.type() == IFLA_IFNAME) EXPECT_TEXT(link.text(), "left");
    if (link.type() == IFLA_MTU) EXPECT(link.u32() == 1400);
    if (link.type() == IFLA_NUM_TX_QUEUES || link.type() == IFLA_NUM_RX_QUEUES) queues += static_cast<int>(link.u32());
    if (link.type() != IFLA_LINKINFO) continue;
    for (Attributes info(link.data()); info.next();) {
      if (info.type() == IFLA_INFO_KIND) EXPECT_TEXT(info.text(), "veth");
      if (info.type() != IFLA_INFO_DATA) continue;
      Attributes data(info.data());
      EXPECT(data.next());
      for (Attributes inner(data.data().substr(sizeof(struct ifinfomsg))); inner.next();) {
        peer = peer || (inner.type() == IFLA_IFNAME && inner.text() == "eth0");
        if (inner.type() == IFLA_NUM_TX_QUEUES || inner.type() == IFLA_NUM_RX_QUEUES)
          queues += static_cast<int>(inner.u32());
      }
    }
  }
  EXPECT(peer);
  // One each way at both ends.
  EXPECT(queues == 4);
  EXPECT(!messages.next());
}

TEST(onlyTheLastOperationIsAnsweredWhenItIsDone) {
  using Case = std::pair<bool (*)(std::string_view, Batch*, RequestError*), const char*>;
  for (const auto& [encode, json] :
       {Case{net::encodeRoute, R"([{"op":"link.set","index":3,"up":true},{"op":"link.delete","index":4},
                                        {"op":"route.add","index":3,"gateway":"10.0.0.1"}])"},
        Case{net::encodeRules, R"([{"op":"table.add","family":"inet","table":"t"},
                                        {"op":"chain.add","family":"inet","table":"t","chain":"a"},
                                        {"op":"chain.add","family":"inet","table":"t","chain":"b"}])"}}) {
    Batch batch;
    EXPECT(encodes(encode, json, &batch));
    EXPECT(batch.expected.size() == 3);
    for (Messages messages(batch.messages.bytes()); messages.next();) {
      const bool last = messages.head().nlmsg_seq == batch.expected.back().sequence;
      EXPECT(((messages.head().nlmsg_flags & NLM_F_ACK) != 0) == last);
    }
  }
}

TEST(aBridgeSaysWhetherItSnoops) {
  for (const bool snoops : {true, false}) {
    Batch batch;
    const std::string also = snoops ? "" : R"(,"noSnooping":true)";
    EXPECT(encodes(net::encodeRoute, R"([{"op":"link.add","name":"b0","kind":"bridge")" + also + "}]", &batch));
    Messages messages(batch.messages.bytes());
    EXPECT(messages.next());
    bool off = false;
    for (Attributes link(messages.after(sizeof(struct ifinfomsg))); link.next();) {
      if (link.type() != IFLA_LINKINFO) continue;
      for (Attributes info(link.data()); info.next();) {
        if (info.type() != IFLA_INFO_DATA) continue;
        for (Attributes bridge(info.data()); bridge.next();) {
          off = off || (bridge.type() == IFLA_BR_MCAST_SNOOPING && bridge.data() == std::string_view("\0", 1));
        }
      }
    }
    EXPECT(off != snoops);
  }
}

TEST(keysOfSeveralPartsArePaddedPartByPart) {
  Batch batch;
  EXPECT(encodes(net::encodeRules,
                 R"([{"op":"element.add","family":"bridge","table":"t","set":"s","key":["ifname","mac","ipv4"],
                     "elements":[{"key":["b0","02:00:00:00:00:01","10.0.0.2"]}]}])",
                 &batch));
  std::vector<std::string> keys;
  net::decodeElements(batch.messages.bytes(), &keys);
  EXPECT(keys.size() == 1);
  EXPECT(keys.at(0).size() == 28);
  EXPECT_TEXT(keys.at(0).substr(0, 2), "b0");
  EXPECT(keys.at(0)[16] == 2 && keys.at(0)[21] == 1 && keys.at(0)[22] == 0 && keys.at(0)[23] == 0);
  EXPECT(keys.at(0)[24] == 10 && keys.at(0)[27] == 2);
}

TEST(anElementWithALimitHasABucketOfItsOwn) {
  const auto with = [](const std::string& limit) {
    return R"([{"op":"element.add","family":"bridge","table":"t","set":"s","key":["ifname"],
                "elements":[{"key":["v0"],"limit":)" +
           limit + "}]}]";
  };
  Batch batch;
  EXPECT(encodes(net::encodeRules, with(R"({"bytesPerSecond":125000,"burstBytes":65536})"), &batch));
  EXPECT(batch.messages.bytes().find(std::string("limit\0", 6)) != std::string::npos);
  for (const char* wrong : {"{}", R"({"bytesPerSecond":0,"burstBytes":1})", R"({"bytesPerSecond":1,"burstBytes":-1})",
                            R"({"bytesPerSecond":"1","burstBytes":1})"}) {
    EXPECT(refusal(net::encodeRules, with(wrong)) != "accepted");
  }
}

TEST(aTransactionHasItsFrame) {
  Batch batch;
  EXPECT(encodes(net::encodeRules, R"([{"op":"table.add","family":"inet","table":"t"}])", &batch));
  uint16_t types[3] = {};
  Messages messages(batch.messages.bytes());
  for (uint16_t& type : types) {
    EXPECT(messages.next());
    type = messages.head().nlmsg_type;
  }
  EXPECT(types[0] == NFNL_MSG_BATCH_BEGIN && types[2] == NFNL_MSG_BATCH_END);
  EXPECT(types[1] == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE));
  EXPECT(batch.expected.size() == 1 && batch.expected[0].sequence == 2);
}

TEST(wrongOperationsAreRefusedWithTheirPlace) {
  EXPECT_TEXT(refusal(net::encodeRoute, R"([{"op":"link.add","name":"toolongforalink","kind":"bridge"}])"), "accepted");
  EXPECT_TEXT(refusal(net::encodeRoute, R"([{"op":"link.add","name":"toolongforalinkx","kind":"bridge"}])"),
              "/0/name is no name of a network interface");
  EXPECT_TEXT(refusal(net::encodeRoute, R"([{"op":"link.add","name":"a/b","kind":"bridge"}])"),
              "/0/name is no name of a network interface");
  EXPECT_TEXT(refusal(net::encodeRoute, R"([{"op":"link.delete"}])"), "/0 names no link");
  EXPECT_TEXT(refusal(net::encodeRoute, R"([{"op":"link.delete","group":0}])"), "/0 would delete every link");
  EXPECT_TEXT(refusal(net::encodeRoute, R"([{"op":"address.add","index":1,"address":"10.0.0.1","prefix":33}])"),
              "/0/prefix must be a whole number in its range");
  EXPECT_TEXT(refusal(net::encodeRoute, R"([{"op":"address.add","index":1,"address":"10.0.0","prefix":8}])"),
              "/0/address is no IP address");
  EXPECT_TEXT(refusal(net::encodeRoute,
                      R"([{"op":"route.add","index":1,"gateway":"10.0.0.1","destination":"fd00::","prefix":8}])"),
              "/0 mixes IPv4 and IPv6");
  EXPECT_TEXT(refusal(net::encodeRoute, R"([{"op":"dance"}])"), "/0 is no operation on links");
  EXPECT_TEXT(refusal(net::encodeRoute, R"({})"), " must be a list of at most 10000 operations");
  EXPECT_TEXT(refusal(net::encodeRules, R"([{"op":"table.add","family":"ip","table":"t"}])"),
              "/0/family must be inet or bridge");
  EXPECT_TEXT(refusal(net::encodeRules, R"([{"op":"table.add","family":"inet","table":"t","mayExist":true}])"),
              "/0 a transaction is done whole or not at all");
  EXPECT_TEXT(refusal(net::encodeRules,
                      R"([{"op":"rule.add","family":"inet","table":"t","chain":"c","expressions":[{"jump":"x"}]}])"),
              "/0/expressions/0 is no expression of a rule");
}

TEST(aLengthThatDoesNotFitIsRefused) {
  std::string elements;
  for (int index = 0; index < 5000; ++index) {
    elements += (index == 0 ? "" : ",") + std::string(R"({"key":["b0","02:00:00:00:00:01","10.0.0.2"]})");
  }
  EXPECT_TEXT(refusal(net::encodeRules,
                      R"([{"op":"element.add","family":"bridge","table":"t","set":"s",
                          "key":["ifname","mac","ipv4"],"elements":[)" +
                          elements + "]}]"),
              "/0 is too long for a netlink message");
}

TEST(cutAnswersAreReadToTheirEndOnly) {
  net::Writer writer;
  struct ifinfomsg header = {};
  header.ifi_index = 3;
  writer.begin(RTM_NEWLINK, 0, header);
  writer.text(IFLA_IFNAME, "eth0");
  writer.u32(IFLA_GROUP, 5);
  writer.end();
  for (size_t size = 0; size <= writer.bytes().size(); ++size) {
    std::vector<net::Link> links;
    net::decodeLinks(writer.bytes().substr(0, size), &links);
    EXPECT(links.size() == (size == writer.bytes().size() ? 1u : 0u));
  }
  EXPECT(net::decodeAnswer("", 0).err == EBADMSG);
}

TEST(theKernelListsLoopback) {
  Result<Fd> socket = net::openSocket(net::Protocol::route, -1);
  EXPECT(socket.ok());
  Result<std::vector<net::Link>> links = net::listLinks(socket.value().get());
  EXPECT(links.ok());
  bool found = false;
  for (const net::Link& link : links.value()) found = found || link.name == "lo";
  EXPECT(found);
}

TEST(anUnknownLinkIsTheKernelsRefusal) {
  Batch batch;
  EXPECT(encodes(net::encodeRoute, R"([{"op":"link.set","index":2147483647,"up":true}])", &batch));
  Result<Fd> socket = net::openSocket(net::Protocol::route, -1);
  net::Refused refused;
  EXPECT(!net::transact(socket.value().get(), batch, &refused));
  EXPECT(refused.error.err == ENODEV || refused.error.err == EPERM);
  Batch excused;
  EXPECT(encodes(net::encodeRoute, R"([{"op":"link.delete","index":2147483647,"mayBeMissing":true}])", &excused));
  EXPECT(net::transact(socket.value().get(), excused, &refused) || refused.error.err == EPERM);
}

}  // namespace
}  // namespace bulkhead
