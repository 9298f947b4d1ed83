// A decision diagram over the words of struct seccomp_data: tests with two outcomes, ending in actions.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "seccomp/profile.h"

namespace bulkhead::seccomp {

enum class Test : uint8_t { equal, greater, atLeast, anyBit };

using NodeId = uint32_t;

struct Node {
  bool isAction = false;
  uint32_t action = 0;
  /** Byte offset in struct seccomp_data. */
  uint32_t word = 0;
  uint32_t mask = ~0u;
  Test test = Test::equal;
  uint32_t operand = 0;
  NodeId onTrue = 0;
  NodeId onFalse = 0;
};

/** Nodes that are alike are one node; a test whose outcomes are one is that outcome. */
class Diagram {
 public:
  NodeId action(uint32_t action);
  NodeId test(const Node& node);
  const Node& operator[](NodeId id) const { return nodes_[id]; }
  size_t size() const { return nodes_.size(); }

 private:
  using Key = std::tuple<bool, uint32_t, uint32_t, uint32_t, uint8_t, uint32_t, NodeId, NodeId>;
  NodeId intern(const Node& node);

  std::vector<Node> nodes_;
  std::map<Key, NodeId> known_;
};

/** Values of one word from `first` up to the next run that lead to one node. */
struct Run {
  uint32_t first;
  NodeId target;
};
/** A balanced search of a word over runs that begin at 0, where a lone value inside a range costs one comparison. */
NodeId buildSearch(Diagram* diagram, uint32_t word, const std::vector<Run>& runs);

/** The diagram of one system call's arguments. */
NodeId buildArguments(Diagram* diagram, const Decision& decision, Arch arch);
/** The same for rules that look at ranges of one argument only; false when these do not. */
bool buildOneArgument(Diagram* diagram, const Decision& decision, Arch arch, NodeId* node);
/** The program of a diagram; empty when it has more than BPF_MAXINSNS instructions. */
std::vector<Instruction> emit(const Diagram& diagram, NodeId root);

}  // namespace bulkhead::seccomp
