#include "net/expressions.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

namespace bulkhead::net {
namespace {

constexpr uint32_t kRegisters = 16;  // NFT_REG32_00 to NFT_REG32_15, 4 bytes each

/** One expression while it is written: its name, its attributes. */
class Expression {
 public:
  Expression(Operation& op, std::string_view name) : out_(op.out()) {
    element_ = out_.open(NFTA_LIST_ELEM);
    out_.text(NFTA_EXPR_NAME, name);
    data_ = out_.open(NFTA_EXPR_DATA);
  }
  ~Expression() {
    out_.close(data_);
    out_.close(element_);
  }
  Expression(const Expression&) = delete;
  Expression& operator=(const Expression&) = delete;

 private:
  Writer& out_;
  size_t element_;
  size_t data_;
};

struct Named {
  std::string_view name;
  uint32_t number;
};

bool find(const Named* list, size_t count, std::string_view name, uint32_t* number) {
  for (size_t index = 0; index < count; ++index) {
    if (list[index].name != name) continue;
    *number = list[index].number;
    return true;
  }
  return false;
}

constexpr Named kMeta[] = {{"iifname", NFT_META_IIFNAME},
                           {"oifname", NFT_META_OIFNAME},
                           {"l4proto", NFT_META_L4PROTO},
                           {"protocol", NFT_META_PROTOCOL},
                           {"nfproto", NFT_META_NFPROTO}};
constexpr Named kBases[] = {{"link", NFT_PAYLOAD_LL_HEADER},
                            {"network", NFT_PAYLOAD_NETWORK_HEADER},
                            {"transport", NFT_PAYLOAD_TRANSPORT_HEADER}};
constexpr Named kTracking[] = {{"state", NFT_CT_STATE}, {"status", NFT_CT_STATUS}};

void putRegister(Operation& op, Operation& expression, uint16_t attribute, const char* member) {
  op.out().be32(attribute, NFT_REG32_00 + expression.number(member, kRegisters - 1));
}

void putBytes(Operation& op, Operation& expression, uint16_t attribute, const char* member) {
  const std::string bytes = hexBytes(expression.text(member));
  if (bytes.empty() || bytes.size() > 64) expression.fail(expression.view(), "needs 1 to 64 bytes in hex");
  const size_t nested = op.out().open(attribute);
  op.out().attribute(NFTA_DATA_VALUE, bytes);
  op.out().close(nested);
}

void putLookup(Operation& op, Operation& expression) {
  const Expression written(op, "lookup");
  op.out().text(NFTA_LOOKUP_SET, expression.ruleName("lookup"));
  putRegister(op, expression, NFTA_LOOKUP_SREG, "register");
  if (expression.has("to")) putRegister(op, expression, NFTA_LOOKUP_DREG, "to");
  if (expression.flag("invert")) op.out().be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
}

void putNat(Operation& op, Operation& expression) {
  const Expression written(op, "nat");
  const bool six = expression.text("dnat") == "ipv6";
  op.out().be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
  op.out().be32(NFTA_NAT_FAMILY, six ? static_cast<uint32_t>(NFPROTO_IPV6) : static_cast<uint32_t>(NFPROTO_IPV4));
  putRegister(op, expression, NFTA_NAT_REG_ADDR_MIN, "address");
  putRegister(op, expression, NFTA_NAT_REG_PROTO_MIN, "port");
}

/**
 * True for what goes over the limit of its key: each value of the register has its own bucket, in a set that forgets
 * those that were quiet (nft's `update @set { key limit rate over … }`). A set that is full limits nobody new.
 */
void putLimit(Operation& op, Operation& expression) {
  const Expression written(op, "dynset");
  op.out().text(NFTA_DYNSET_SET_NAME, expression.ruleName("limit"));
  op.out().be32(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
  putRegister(op, expression, NFTA_DYNSET_SREG_KEY, "register");
  const size_t inner = op.out().open(NFTA_DYNSET_EXPR);
  op.out().text(NFTA_EXPR_NAME, "limit");
  const size_t data = op.out().open(NFTA_EXPR_DATA);
  op.out().be64(NFTA_LIMIT_RATE, expression.number("perSecond"));
  op.out().be64(NFTA_LIMIT_UNIT, 1);
  op.out().be32(NFTA_LIMIT_BURST, expression.number("burst"));
  op.out().be32(NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
  op.out().be32(NFTA_LIMIT_FLAGS, NFT_LIMIT_F_INV);
  op.out().close(data);
  op.out().close(inner);
}

bool putVerdict(Operation& op, Operation& expression) {
  const std::string_view verdict = expression.text("verdict");
  if (verdict != "accept" && verdict != "drop") return expression.fail(expression.view(), "must accept or drop");
  const Expression written(op, "immediate");
  op.out().be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  const size_t data = op.out().open(NFTA_IMMEDIATE_DATA);
  const size_t nested = op.out().open(NFTA_DATA_VERDICT);
  op.out().be32(NFTA_VERDICT_CODE, verdict == "accept" ? NF_ACCEPT : NF_DROP);
  op.out().close(nested);
  op.out().close(data);
  return true;
}

bool putLoad(Operation& op, Operation& expression) {
  uint32_t number = 0;
  if (expression.has("meta")) {
    if (!find(kMeta, std::size(kMeta), expression.text("meta"), &number)) return false;
    const Expression written(op, "meta");
    op.out().be32(NFTA_META_KEY, number);
    putRegister(op, expression, NFTA_META_DREG, "register");
    return true;
  }
  if (expression.has("payload")) {
    if (!find(kBases, std::size(kBases), expression.text("payload"), &number)) return false;
    const Expression written(op, "payload");
    putRegister(op, expression, NFTA_PAYLOAD_DREG, "register");
    op.out().be32(NFTA_PAYLOAD_BASE, number);
    op.out().be32(NFTA_PAYLOAD_OFFSET, expression.number("offset", 255));
    op.out().be32(NFTA_PAYLOAD_LEN, expression.number("length", 16));
    return true;
  }
  if (expression.has("tracking")) {
    if (!find(kTracking, std::size(kTracking), expression.text("tracking"), &number)) return false;
    const Expression written(op, "ct");
    putRegister(op, expression, NFTA_CT_DREG, "register");
    op.out().be32(NFTA_CT_KEY, number);
    return true;
  }
  // fib daddr type: what kind of address the destination is to this host.
  const Expression written(op, "fib");
  putRegister(op, expression, NFTA_FIB_DREG, "destinationType");
  op.out().be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  op.out().be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
  return true;
}

bool encodeOne(Operation& op, Operation& expression) {
  if (expression.has("lookup")) return putLookup(op, expression), true;
  if (expression.has("limit")) return putLimit(op, expression), true;
  if (expression.has("dnat")) return putNat(op, expression), true;
  if (expression.has("verdict")) return putVerdict(op, expression);
  if (expression.has("compare")) {
    const Expression written(op, "cmp");
    putRegister(op, expression, NFTA_CMP_SREG, "compare");
    op.out().be32(NFTA_CMP_OP, expression.flag("invert") ? NFT_CMP_NEQ : NFT_CMP_EQ);
    putBytes(op, expression, NFTA_CMP_DATA, "with");
    return true;
  }
  if (expression.has("mask")) {
    const Expression written(op, "bitwise");
    const std::string mask(expression.text("with"));
    putRegister(op, expression, NFTA_BITWISE_SREG, "mask");
    putRegister(op, expression, NFTA_BITWISE_DREG, "mask");
    op.out().be32(NFTA_BITWISE_LEN, static_cast<uint32_t>(mask.size() / 2));
    putBytes(op, expression, NFTA_BITWISE_MASK, "with");
    const size_t nested = op.out().open(NFTA_BITWISE_XOR);
    op.out().attribute(NFTA_DATA_VALUE, std::string(mask.size() / 2, '\0'));
    op.out().close(nested);
    return true;
  }
  if (expression.has("masquerade")) {
    const Expression written(op, "masq");
    return true;
  }
  if (expression.has("meta") || expression.has("payload") || expression.has("tracking") ||
      expression.has("destinationType")) {
    return putLoad(op, expression);
  }
  return false;
}

}  // namespace

bool encodeExpressions(Operation& op, const plan::View& list) {
  if (list.count() == 0 || list.count() > 64) return op.fail(list, "must have 1 to 64 expressions");
  const size_t all = op.out().open(NFTA_RULE_EXPRESSIONS);
  for (uint32_t index = 0; index < list.count(); ++index) {
    const plan::View entry = list.element(index);
    RequestError wrong;
    Batch unused;
    Operation expression(entry, &unused, &wrong);
    if (!encodeOne(op, expression) || !expression.ok()) return op.fail(entry, "is no expression of a rule");
  }
  op.out().close(all);
  return true;
}

}  // namespace bulkhead::net
