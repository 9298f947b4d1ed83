// nftables half of request.h: objects of a rule set. What rules say is in expressions.cc, values in values.cc.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "net/expressions.h"
#include "net/request.h"

namespace bulkhead::net {
namespace {

constexpr uint16_t kMake = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
constexpr uint16_t kDelete = NLM_F_REQUEST | NLM_F_ACK;
constexpr uint32_t kMaxElements = 5000;

void begin(Operation& op, uint16_t type, uint16_t flags) {
  const std::string_view family = op.text("family");
  uint8_t number = 0;
  if (family == "inet") {
    number = NFPROTO_INET;
  } else if (family == "bridge") {
    number = NFPROTO_BRIDGE;
  } else {
    op.fail(op.view().member("family"), "must be inet or bridge");
  }
  const struct nfgenmsg header = {number, NFNETLINK_V0, 0};
  op.out().begin(static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type), flags, header);
}

bool table(Operation& op, uint16_t type, uint16_t flags) {
  begin(op, type, flags);
  op.out().text(NFTA_TABLE_NAME, op.ruleName("table"));
  op.out().end();
  return true;
}

bool hookNumber(std::string_view name, uint32_t* number) {
  // NF_BR_* hooks have the numbers of NF_INET_*.
  if (name == "prerouting")
    *number = NF_INET_PRE_ROUTING;
  else if (name == "input")
    *number = NF_INET_LOCAL_IN;
  else if (name == "forward")
    *number = NF_INET_FORWARD;
  else if (name == "output")
    *number = NF_INET_LOCAL_OUT;
  else if (name == "postrouting")
    *number = NF_INET_POST_ROUTING;
  else
    return false;
  return true;
}

bool addChain(Operation& op) {
  begin(op, NFT_MSG_NEWCHAIN, kMake);
  op.out().text(NFTA_CHAIN_TABLE, op.ruleName("table"));
  op.out().text(NFTA_CHAIN_NAME, op.ruleName("chain"));
  if (op.has("hook")) {
    uint32_t number = 0;
    if (!hookNumber(op.text("hook"), &number)) return op.fail(op.view().member("hook"), "is no hook");
    const plan::View priority = op.view().member("priority");
    if (!priority.present() || !priority.value().IsInt()) return op.fail(priority, "must be a whole number");
    const size_t hook = op.out().open(NFTA_CHAIN_HOOK);
    op.out().be32(NFTA_HOOK_HOOKNUM, number);
    op.out().be32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(priority.value().GetInt()));
    op.out().close(hook);
    op.out().text(NFTA_CHAIN_TYPE, op.ruleName("type"));
    op.out().be32(NFTA_CHAIN_POLICY, NF_ACCEPT);
  }
  op.out().end();
  return true;
}

/** Every rule of a chain; the chain stays. */
bool flushChain(Operation& op) {
  begin(op, NFT_MSG_DELRULE, kDelete);
  op.out().text(NFTA_RULE_TABLE, op.ruleName("table"));
  op.out().text(NFTA_RULE_CHAIN, op.ruleName("chain"));
  op.out().end();
  return true;
}

bool addRule(Operation& op) {
  begin(op, NFT_MSG_NEWRULE, kMake | NLM_F_APPEND);
  op.out().text(NFTA_RULE_TABLE, op.ruleName("table"));
  op.out().text(NFTA_RULE_CHAIN, op.ruleName("chain"));
  const plan::View list = op.view().member("expressions");
  if (!encodeExpressions(op, list)) return false;
  op.out().end();
  return true;
}

/** Sets of one transaction may refer to each other before they have handles, by these numbers. */
uint32_t nextSetId(Operation& op) {
  return op.out().sequence();
}

bool addSet(Operation& op) {
  begin(op, NFT_MSG_NEWSET, kMake);
  ValueType key;
  ValueType data;
  if (!readType(op, "key", &key)) return false;
  op.out().text(NFTA_SET_TABLE, op.ruleName("table"));
  op.out().text(NFTA_SET_NAME, op.ruleName("set"));
  const bool map = op.has("data");
  const uint32_t mapFlag = map ? static_cast<uint32_t>(NFT_SET_MAP) : 0;
  const uint32_t joinFlag = key.parts > 1 ? static_cast<uint32_t>(NFT_SET_CONCAT) : 0;
  // Filled by rules and not by us: it needs a bound, and a time after which what it learned is forgotten.
  const bool learned = op.has("forgetSeconds");
  const uint32_t learnedFlags = learned ? static_cast<uint32_t>(NFT_SET_EVAL) | NFT_SET_TIMEOUT : 0;
  op.out().be32(NFTA_SET_FLAGS, mapFlag | joinFlag | learnedFlags);
  op.out().be32(NFTA_SET_KEY_TYPE, key.display);
  op.out().be32(NFTA_SET_KEY_LEN, key.bytes);
  op.out().be32(NFTA_SET_ID, nextSetId(op));
  if (learned) {
    op.out().be64(NFTA_SET_TIMEOUT, uint64_t{1000} * op.number("forgetSeconds"));
    const size_t description = op.out().open(NFTA_SET_DESC);
    op.out().be32(NFTA_SET_DESC_SIZE, op.number("size"));
    op.out().close(description);
  }
  if (key.parts > 1) {
    if (learned) return op.fail(op.view(), "learns keys of one part only");
    const size_t description = op.out().open(NFTA_SET_DESC);
    const size_t fields = op.out().open(NFTA_SET_DESC_CONCAT);
    for (uint32_t part = 0; part < key.parts; ++part) {
      const size_t field = op.out().open(NFTA_LIST_ELEM);
      op.out().be32(NFTA_SET_FIELD_LEN, key.sizes[part]);
      op.out().close(field);
    }
    op.out().close(fields);
    op.out().close(description);
  }
  if (map) {
    if (!readType(op, "data", &data)) return false;
    op.out().be32(NFTA_SET_DATA_TYPE, data.display);
    op.out().be32(NFTA_SET_DATA_LEN, data.bytes);
  }
  op.out().end();
  return true;
}

/** A bucket of an element's own: whoever looks the element up finds it only when the bucket is empty. */
void putBucket(Operation& op, const plan::View& view) {
  RequestError wrong;
  Batch unused;
  Operation limit(view, &unused, &wrong);
  const uint64_t rate = limit.bigNumber("bytesPerSecond");
  const size_t expression = op.out().open(NFTA_SET_ELEM_EXPR);
  op.out().text(NFTA_EXPR_NAME, "limit");
  const size_t data = op.out().open(NFTA_EXPR_DATA);
  op.out().be64(NFTA_LIMIT_RATE, rate);
  op.out().be64(NFTA_LIMIT_UNIT, 1);
  op.out().be32(NFTA_LIMIT_BURST, limit.number("burstBytes"));
  op.out().be32(NFTA_LIMIT_TYPE, NFT_LIMIT_PKT_BYTES);
  op.out().be32(NFTA_LIMIT_FLAGS, NFT_LIMIT_F_INV);
  op.out().close(data);
  op.out().close(expression);
  if (!limit.ok() || rate == 0) op.fail(view, "needs a rate and a burst in bytes");
}

bool elements(Operation& op, uint16_t type, uint16_t flags) {
  begin(op, type, flags);
  ValueType key;
  ValueType data;
  const bool map = op.has("data");
  if (!readType(op, "key", &key) || (map && !readType(op, "data", &data))) return false;
  op.out().text(NFTA_SET_ELEM_LIST_TABLE, op.ruleName("table"));
  op.out().text(NFTA_SET_ELEM_LIST_SET, op.ruleName("set"));
  const plan::View list = op.view().member("elements");
  if (list.count() == 0 || list.count() > kMaxElements) return op.fail(list, "must have 1 to 5000 elements");
  const size_t all = op.out().open(NFTA_SET_ELEM_LIST_ELEMENTS);
  for (uint32_t index = 0; index < list.count(); ++index) {
    const plan::View entry = list.element(index);
    const plan::View keyView = entry.member("key");
    const plan::View dataView = entry.member("data");
    std::string bytes;
    if (!encodeValue(op, keyView, key, &bytes)) return false;
    const size_t element = op.out().open(NFTA_LIST_ELEM);
    const size_t keyAt = op.out().open(NFTA_SET_ELEM_KEY);
    op.out().attribute(NFTA_DATA_VALUE, bytes);
    op.out().close(keyAt);
    if (map && type == NFT_MSG_NEWSETELEM) {
      if (!encodeValue(op, dataView, data, &bytes)) return false;
      const size_t dataAt = op.out().open(NFTA_SET_ELEM_DATA);
      op.out().attribute(NFTA_DATA_VALUE, bytes);
      op.out().close(dataAt);
    }
    if (entry.member("limit").present()) putBucket(op, entry.member("limit"));
    op.out().close(element);
  }
  op.out().close(all);
  op.out().end();
  return true;
}

bool encodeOne(Operation& op, std::string_view name) {
  if (name == "table.add") return table(op, NFT_MSG_NEWTABLE, kMake);
  if (name == "table.delete") return table(op, NFT_MSG_DELTABLE, kDelete);
  if (name == "chain.add") return addChain(op);
  if (name == "chain.flush") return flushChain(op);
  if (name == "rule.add") return addRule(op);
  if (name == "set.add") return addSet(op);
  if (name == "element.add") return elements(op, NFT_MSG_NEWSETELEM, kMake);
  if (name == "element.delete") return elements(op, NFT_MSG_DELSETELEM, kDelete);
  return op.fail(op.view(), "is no operation on rules");
}

void boundary(Writer* out, uint16_t type) {
  const struct nfgenmsg header = {NFPROTO_UNSPEC, NFNETLINK_V0, __builtin_bswap16(NFNL_SUBSYS_NFTABLES)};
  out->begin(type, NLM_F_REQUEST, header);
  out->end();
}

}  // namespace

bool encodeRules(std::string_view json, Batch* batch, RequestError* error) {
  boundary(&batch->messages, NFNL_MSG_BATCH_BEGIN);
  if (!encodeEach(json, batch, error, encodeOne)) return false;
  for (const Expectation& each : batch->expected) {
    // One failing member undoes the whole transaction, so none can be excused.
    if (!each.mayExist && !each.mayBeMissing) continue;
    *error = {"/" + std::to_string(each.index), "a transaction is done whole or not at all"};
    return false;
  }
  boundary(&batch->messages, NFNL_MSG_BATCH_END);
  return true;
}

}  // namespace bulkhead::net
