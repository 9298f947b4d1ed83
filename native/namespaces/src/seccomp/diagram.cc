#include "seccomp/diagram.h"

namespace bulkhead::seccomp {

NodeId Diagram::action(uint32_t action) {
  Node node;
  node.isAction = true;
  node.action = action;
  return intern(node);
}

NodeId Diagram::test(const Node& node) {
  if (node.onTrue == node.onFalse) return node.onTrue;
  return intern(node);
}

NodeId Diagram::intern(const Node& node) {
  const Key key = {node.isAction, node.action, node.word,   node.mask, static_cast<uint8_t>(node.test),
                   node.operand,  node.onTrue, node.onFalse};
  const auto [at, added] = known_.try_emplace(key, static_cast<NodeId>(nodes_.size()));
  if (added) nodes_.push_back(node);
  return at->second;
}

}  // namespace bulkhead::seccomp
