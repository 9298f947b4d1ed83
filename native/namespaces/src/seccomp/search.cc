// One word as a balanced search over ranges.
#include <algorithm>
#include <map>

#include "seccomp/diagram.h"

namespace bulkhead::seccomp {
namespace {

/** Values that go to `target`, up to the next segment, except some. */
struct Segment {
  uint32_t first;
  NodeId target;
  std::vector<std::pair<uint32_t, NodeId>> exceptions;
};

// Longer chains of comparisons are cut in two: one instruction more, half the way.
constexpr size_t kMaxExceptions = 7;

/** Runs with their lengths; neighbours with one target are one run. */
struct Stretch {
  uint32_t first;
  uint64_t count;
  NodeId target;
};

std::vector<Stretch> stretchesOf(const std::vector<Run>& runs) {
  std::vector<Stretch> stretches;
  for (size_t index = 0; index < runs.size(); ++index) {
    const uint64_t end = index + 1 < runs.size() ? runs[index + 1].first : uint64_t{1} << 32;
    const uint64_t count = end - runs[index].first;
    if (!stretches.empty() && stretches.back().target == runs[index].target) {
      stretches.back().count += count;
    } else {
      stretches.push_back({runs[index].first, count, runs[index].target});
    }
  }
  return stretches;
}

/** For each run the target of the segment it lies in, with the fewest segments and exceptions together. */
std::vector<NodeId> chooseTargets(const std::vector<Stretch>& runs) {
  struct Best {
    uint64_t cost;
    NodeId before;
  };
  std::vector<std::map<NodeId, Best>> table(runs.size());
  for (size_t index = 0; index < runs.size(); ++index) {
    std::pair<uint64_t, NodeId> cheapest = {0, runs[index].target};
    if (index > 0) {
      cheapest = {UINT64_MAX, 0};
      for (const auto& [target, best] : table[index - 1]) cheapest = std::min(cheapest, {best.cost, target});
    }
    const auto consider = [&](NodeId target) {
      uint64_t cost = runs[index].target == target ? 0 : runs[index].count;
      NodeId before = target;
      if (index > 0) {
        const auto stay = table[index - 1].find(target);
        const bool stays = stay != table[index - 1].end() && stay->second.cost <= cheapest.first + 1;
        cost += stays ? stay->second.cost : cheapest.first + 1;
        if (!stays) before = cheapest.second;
      }
      table[index][target] = {cost, before};
    };
    consider(runs[index].target);
    // A target more than two away was either kept so far or is not worth coming back to.
    if (index > 0) {
      for (const auto& [target, best] : table[index - 1]) {
        if (best.cost <= cheapest.first + 1) consider(target);
      }
    }
  }
  std::vector<NodeId> chosen(runs.size());
  const auto& last = table.back();
  NodeId target = std::min_element(last.begin(), last.end(), [](const auto& a, const auto& b) {
                    return a.second.cost < b.second.cost;
                  })->first;
  for (size_t index = runs.size(); index > 0; --index) {
    chosen[index - 1] = target;
    target = table[index - 1][target].before;
  }
  return chosen;
}

std::vector<Segment> segmentsOf(const std::vector<Stretch>& runs) {
  const std::vector<NodeId> chosen = chooseTargets(runs);
  std::vector<Segment> segments;
  for (size_t index = 0; index < runs.size(); ++index) {
    const Stretch& run = runs[index];
    const bool longChain = !segments.empty() && segments.back().exceptions.size() >= kMaxExceptions;
    if (segments.empty() || segments.back().target != chosen[index] || longChain) {
      segments.push_back({run.first, chosen[index], {}});
    }
    if (run.target == chosen[index]) continue;
    for (uint32_t offset = 0; offset < run.count; ++offset) {
      segments.back().exceptions.push_back({run.first + offset, run.target});
    }
  }
  return segments;
}

class Search {
 public:
  Search(Diagram* diagram, uint32_t word, const std::vector<Segment>& segments)
      : diagram_(diagram), word_(word), segments_(segments) {}

  NodeId between(size_t begin, size_t end) const {
    if (end - begin == 1) return chain(segments_[begin]);
    size_t total = 0;
    for (size_t index = begin; index < end; ++index) total += weight(index);
    size_t middle = begin + 1;
    for (size_t left = weight(begin); middle + 1 < end && 2 * (left + weight(middle)) <= total + 1; ++middle) {
      left += weight(middle);
    }
    const NodeId below = between(begin, middle);
    return test(Test::atLeast, segments_[middle].first, between(middle, end), below);
  }

 private:
  size_t weight(size_t index) const { return segments_[index].exceptions.size() + 1; }

  NodeId test(Test kind, uint32_t operand, NodeId onTrue, NodeId onFalse) const {
    Node node;
    node.word = word_;
    node.test = kind;
    node.operand = operand;
    node.onTrue = onTrue;
    node.onFalse = onFalse;
    return diagram_->test(node);
  }

  NodeId chain(const Segment& segment) const {
    NodeId node = segment.target;
    for (auto at = segment.exceptions.rbegin(); at != segment.exceptions.rend(); ++at) {
      node = test(Test::equal, at->first, at->second, node);
    }
    return node;
  }

  Diagram* diagram_;
  uint32_t word_;
  const std::vector<Segment>& segments_;
};

}  // namespace

NodeId buildSearch(Diagram* diagram, uint32_t word, const std::vector<Run>& runs) {
  const std::vector<Segment> segments = segmentsOf(stretchesOf(runs));
  return Search(diagram, word, segments).between(0, segments.size());
}

}  // namespace bulkhead::seccomp
