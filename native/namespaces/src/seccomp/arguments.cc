// Conditions on 64-bit arguments as tests of 32-bit words, each word asked only what is not known yet.
#include <linux/seccomp.h>

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "seccomp/diagram.h"

namespace bulkhead::seccomp {
namespace {

constexpr size_t kWords = 12;  // six arguments in two halves
// Beyond this many steps the diagram is built without what is known, which is longer but linear in the profile.
constexpr size_t kMaxSteps = 20'000;

struct Asked {
  uint32_t word;
  uint32_t mask;
  uint32_t operand;
  bool answer;
  auto operator<=>(const Asked&) const = default;
};

/** What earlier tests have said about the words: a range for each, and answers that are no range. */
struct Known {
  std::array<uint32_t, kWords> lowest = {};
  std::array<uint32_t, kWords> highest;
  std::vector<Asked> asked;

  Known() { highest.fill(~0u); }
  auto operator<=>(const Known&) const = default;
};

constexpr uint32_t kArguments = offsetof(struct seccomp_data, args);
size_t indexOf(uint32_t word) {
  return (word - kArguments) / 4;
}

std::optional<bool> answer(const Known& known, const Node& test) {
  const uint32_t lowest = known.lowest[indexOf(test.word)];
  const uint32_t highest = known.highest[indexOf(test.word)];
  if (test.test == Test::equal) {
    if (test.mask == 0) return test.operand == 0;
    if ((test.operand & ~test.mask) != 0) return false;
    if (lowest == highest) return (lowest & test.mask) == test.operand;
    if (test.mask == ~0u && (test.operand < lowest || test.operand > highest)) return false;
    for (const Asked& one : known.asked) {
      if (one.word == test.word && one.mask == test.mask && one.operand == test.operand) return one.answer;
    }
    return std::nullopt;
  }
  // Only greater and atLeast are left; "> k" is ">= k + 1".
  if (test.test == Test::greater && test.operand == ~0u) return false;
  const uint32_t bound = test.test == Test::greater ? test.operand + 1 : test.operand;
  if (lowest >= bound) return true;
  if (highest < bound) return false;
  return std::nullopt;
}

Known learn(Known known, const Node& test, bool outcome) {
  uint32_t& lowest = known.lowest[indexOf(test.word)];
  uint32_t& highest = known.highest[indexOf(test.word)];
  if (test.test == Test::equal && test.mask == ~0u && outcome) {
    lowest = highest = test.operand;
  } else if (test.test == Test::equal) {
    known.asked.push_back({test.word, test.mask, test.operand, outcome});
  } else {
    const uint32_t bound = test.test == Test::greater ? test.operand + 1 : test.operand;
    if (outcome) {
      lowest = bound;
    } else {
      highest = bound - 1;
    }
  }
  return known;
}

class Arguments {
 public:
  Arguments(Diagram* diagram, const Decision& decision, Arch arch, bool learning)
      : diagram_(diagram), decision_(decision), narrow_(arch == Arch::i386), learning_(learning) {}

  /** The node that tries rule `rule` from its condition `condition` on. */
  NodeId from(size_t rule, size_t condition, const Known& known) {
    if (rule == decision_.conditional.size()) return diagram_->action(decision_.otherwise);
    const Rule& current = decision_.conditional[rule];
    if (condition == current.conditions.size()) return diagram_->action(current.action);
    const auto key = std::make_tuple(rule, condition, known);
    if (const auto at = made_.find(key); at != made_.end()) return at->second;
    if (++steps_ > kMaxSteps) exhausted_ = true;
    if (exhausted_) return 0;
    const NodeId node = compare(rule, condition, known);
    made_.emplace(key, node);
    return node;
  }
  bool exhausted() const { return exhausted_; }

 private:
  using Next = NodeId (Arguments::*)(size_t, size_t, const Known&);
  NodeId holds(size_t rule, size_t condition, const Known& known) { return from(rule, condition + 1, known); }
  NodeId fails(size_t rule, size_t, const Known& known) { return from(rule + 1, 0, known); }

  /** One test with a continuation for each outcome; no node when the outcome is known. */
  template <class True, class False>
  NodeId ask(Node test, const Known& known, True onTrue, False onFalse) {
    if (const std::optional<bool> already = answer(known, test)) return *already ? onTrue(known) : onFalse(known);
    test.onTrue = onTrue(learning_ ? learn(known, test, true) : known);
    test.onFalse = onFalse(learning_ ? learn(known, test, false) : known);
    // "a & m == 0" is the opposite of "any bit of m", which needs no second instruction.
    if (test.test == Test::equal && test.operand == 0 && test.mask != ~0u) {
      std::swap(test.onTrue, test.onFalse);
      test.test = Test::anyBit;
      test.operand = test.mask;
      test.mask = ~0u;
    }
    return diagram_->test(test);
  }

  NodeId compare(size_t rule, size_t index, const Known& known) {
    const Condition& condition = decision_.conditional[rule].conditions[index];
    const uint32_t low = kArguments + 8 * condition.argument;
    const uint64_t wanted = condition.compare == Compare::maskedEqual ? condition.valueTwo : condition.value;
    const uint64_t mask = condition.compare == Compare::maskedEqual ? condition.value : ~uint64_t{0};
    const auto test = [&](uint32_t word, Test kind, uint32_t operand, uint32_t bits = ~0u) {
      Node node;
      node.word = word;
      node.test = kind;
      node.operand = operand;
      node.mask = bits;
      return node;
    };
    const auto next = [&](Next way) {
      return [this, way, rule, index](const Known& now) { return (this->*way)(rule, index, now); };
    };
    const auto yes = next(&Arguments::holds);
    const auto no = next(&Arguments::fails);
    // 32-bit programs have 32-bit arguments: only the low half of what the profile says can be meant.
    const uint32_t topMask = narrow_ ? 0 : static_cast<uint32_t>(mask >> 32);
    const uint32_t top = narrow_ ? 0 : static_cast<uint32_t>(wanted >> 32);
    const uint32_t bottom = static_cast<uint32_t>(wanted);
    const Node topEqual = test(low + 4, Test::equal, top, topMask);
    const Node bottomEqual = test(low, Test::equal, bottom, static_cast<uint32_t>(mask));
    const auto ordered = [&](Test kind, const auto& above, const auto& below) {
      const auto bottomHalf = [&](const Known& now) { return ask(test(low, kind, bottom), now, above, below); };
      if (narrow_) return bottomHalf(known);
      const auto tops = [&](const Known& now) { return ask(topEqual, now, bottomHalf, below); };
      return ask(test(low + 4, Test::greater, top), known, above, tops);
    };
    switch (condition.compare) {
      case Compare::equal:
      case Compare::maskedEqual:
        return ask(
            topEqual, known, [&](const Known& now) { return ask(bottomEqual, now, yes, no); }, no);
      case Compare::notEqual:
        return ask(
            topEqual, known, [&](const Known& now) { return ask(bottomEqual, now, no, yes); }, yes);
      case Compare::greater:
        return ordered(Test::greater, yes, no);
      case Compare::greaterOrEqual:
        return ordered(Test::atLeast, yes, no);
      case Compare::less:
        return ordered(Test::atLeast, no, yes);
      case Compare::lessOrEqual:
        return ordered(Test::greater, no, yes);
    }
    return 0;
  }

  Diagram* diagram_;
  const Decision& decision_;
  const bool narrow_;
  const bool learning_;
  bool exhausted_ = false;
  size_t steps_ = 0;
  std::map<std::tuple<size_t, size_t, Known>, NodeId> made_;
};

}  // namespace

NodeId buildArguments(Diagram* diagram, const Decision& decision, Arch arch) {
  NodeId simple = 0;
  if (buildOneArgument(diagram, decision, arch, &simple)) return simple;
  Arguments learning(diagram, decision, arch, true);
  const NodeId node = learning.from(0, 0, Known());
  if (!learning.exhausted()) return node;
  return Arguments(diagram, decision, arch, false).from(0, 0, Known());
}

}  // namespace bulkhead::seccomp
