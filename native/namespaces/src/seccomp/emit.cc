// A diagram as a program, written from its end: every jump goes forward, so what it leads to is written first.
#include <linux/bpf_common.h>
#include <linux/filter.h>

#include <algorithm>

#include "seccomp/diagram.h"

namespace bulkhead::seccomp {
namespace {

constexpr uint16_t kLoad = BPF_LD | BPF_W | BPF_ABS;
constexpr uint16_t kAnd = BPF_ALU | BPF_AND | BPF_K;
constexpr uint16_t kJump = BPF_JMP | BPF_JA;
constexpr uint16_t kReturn = BPF_RET | BPF_K;
// A conditional jump leaves out at most this many instructions.
constexpr size_t kReach = 255;
constexpr size_t kNowhere = SIZE_MAX;
// A chain of tests is as deep as it is long, and longer programs than this are refused anyway.
constexpr size_t kMaxInstructions = BPF_MAXINSNS;

uint16_t codeOf(Test test) {
  switch (test) {
    case Test::equal:
      return BPF_JMP | BPF_JEQ | BPF_K;
    case Test::greater:
      return BPF_JMP | BPF_JGT | BPF_K;
    case Test::atLeast:
      return BPF_JMP | BPF_JGE | BPF_K;
    case Test::anyBit:
      return BPF_JMP | BPF_JSET | BPF_K;
  }
  return kJump;
}

class Emitter {
 public:
  Emitter(const Diagram& diagram, NodeId root) : diagram_(diagram), places_(diagram.size()) {
    // The root and everything that is reached with another word at hand must load its own.
    places_[root].loads = true;
    order(root);
    for (const NodeId id : ordered_) {
      const Node& node = diagram_[id];
      if (node.isAction) continue;
      for (const NodeId next : {node.onTrue, node.onFalse}) {
        if (!sameWord(node, diagram_[next])) places_[next].loads = true;
      }
    }
    for (const NodeId id : ordered_) {
      write(id);
      if (code_.size() > kMaxInstructions) break;
    }
  }

  std::vector<Instruction> take() {
    if (code_.size() > kMaxInstructions) return {};
    std::reverse(code_.begin(), code_.end());
    return std::move(code_);
  }

 private:
  struct Place {
    bool ordered = false;
    bool loads = false;
    size_t bare = kNowhere;    // counted from the program's end
    size_t loaded = kNowhere;  // where the word is loaded first
  };

  static bool sameWord(const Node& from, const Node& to) {
    return to.isAction || (from.word == to.word && from.mask == to.mask);
  }

  /** Successors before the node itself; without recursion, since a hostile profile decides how deep this goes. */
  void order(NodeId root) {
    std::vector<std::pair<NodeId, bool>> stack = {{root, false}};
    while (!stack.empty()) {
      const auto [id, left] = stack.back();
      stack.pop_back();
      if (left) {
        ordered_.push_back(id);
        continue;
      }
      if (places_[id].ordered) continue;
      places_[id].ordered = true;
      stack.push_back({id, true});
      const Node& node = diagram_[id];
      if (node.isAction) continue;
      stack.push_back({node.onFalse, false});
      stack.push_back({node.onTrue, false});
    }
  }

  size_t* placeOf(const Node& from, NodeId to) {
    Place& place = places_[to];
    return sameWord(from, diagram_[to]) ? &place.bare : &place.loaded;
  }

  /** Puts a copy of a far action, or a jump to a far test, within reach. True when something was written. */
  bool bringNear(const Node& from, NodeId to) {
    size_t* place = placeOf(from, to);
    // One instruction may still come between for the other outcome.
    if (code_.size() - *place - 1 < kReach) return false;
    const Node& target = diagram_[to];
    if (target.isAction) {
      code_.push_back({kReturn, 0, 0, target.action});
    } else {
      code_.push_back({kJump, 0, 0, static_cast<uint32_t>(code_.size() - *place - 1)});
    }
    *place = code_.size() - 1;
    return true;
  }

  void write(NodeId id) {
    const Node& node = diagram_[id];
    Place& place = places_[id];
    if (node.isAction) {
      code_.push_back({kReturn, 0, 0, node.action});
      place.bare = place.loaded = code_.size() - 1;
      return;
    }
    while (bringNear(node, node.onTrue) || bringNear(node, node.onFalse)) {
    }
    const auto distance = [&](NodeId to) { return static_cast<uint8_t>(code_.size() - *placeOf(node, to) - 1); };
    code_.push_back({codeOf(node.test), distance(node.onTrue), distance(node.onFalse), node.operand});
    place.bare = code_.size() - 1;
    if (!place.loads) return;
    if (node.mask != ~0u) code_.push_back({kAnd, 0, 0, node.mask});
    code_.push_back({kLoad, 0, 0, node.word});
    place.loaded = code_.size() - 1;
  }

  const Diagram& diagram_;
  std::vector<Place> places_;
  std::vector<NodeId> ordered_;
  std::vector<Instruction> code_;
};

}  // namespace

std::vector<Instruction> emit(const Diagram& diagram, NodeId root) {
  return Emitter(diagram, root).take();
}

}  // namespace bulkhead::seccomp
