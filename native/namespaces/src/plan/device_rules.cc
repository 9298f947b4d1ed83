#include "plan/device_rules.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace bulkhead::plan {
namespace {

constexpr uint32_t kAnyAccess = kDeviceMknod | kDeviceRead | kDeviceWrite;

DeviceRule character(int64_t major, int64_t minor, uint32_t access) {
  return {true, false, kDeviceChar, major, minor, access};
}

/** A node may always be made, since only what may be opened is worth anything; the rest is the standard /dev. */
std::vector<DeviceRule> standardRules() {
  std::vector<DeviceRule> rules = {character(-1, -1, kDeviceMknod), {true, false, kDeviceBlock, -1, -1, kDeviceMknod}};
  // Documentation/admin-guide/devices.txt: null, zero, full, random, urandom, tty, console, ptmx, pts
  for (const int minor : {3, 5, 7, 8, 9}) rules.push_back(character(1, minor, kAnyAccess));
  for (const int minor : {0, 1, 2}) rules.push_back(character(5, minor, kAnyAccess));
  rules.push_back(character(136, -1, kAnyAccess));
  return rules;
}

/** "rwm" or a part of it; 0 when it has anything else. */
uint32_t accessBits(std::string_view text) {
  uint32_t bits = 0;
  for (const char one : text) {
    const uint32_t bit = one == 'r' ? kDeviceRead : one == 'w' ? kDeviceWrite : one == 'm' ? kDeviceMknod : 0;
    if (bit == 0) return 0;
    bits |= bit;
  }
  return bits;
}

bool readRule(Context* context, const View& entry, DeviceRule* rule) {
  if (!entry.isObject()) return context->fail(entry, "must be an object");
  const View typeView = entry.member("type");
  const View accessView = entry.member("access");
  Str type;
  Str access;
  if (!context->boolean(entry.member("allow"), &rule->allow) || !context->text(typeView, &type) ||
      !context->text(accessView, &access) || !context->integer(entry.member("major"), -1, UINT32_MAX, &rule->major) ||
      !context->integer(entry.member("minor"), -1, UINT32_MAX, &rule->minor)) {
    return false;
  }
  const std::string_view letter = type.empty() ? "a" : type.view();
  if (letter != "a" && letter != "b" && letter != "c") return context->fail(typeView, "must be a, b or c");
  rule->all = letter == "a";
  rule->type = letter == "b" ? kDeviceBlock : kDeviceChar;
  rule->access = access.empty() ? kAnyAccess : accessBits(access.view());
  return rule->access != 0 ? true : context->fail(accessView, "must be made of r, w and m");
}

bool sameDevice(const DeviceRule& a, const DeviceRule& b) {
  return a.type == b.type && a.major == b.major && a.minor == b.minor;
}

void addException(DeviceAccess* access, const DeviceRule& rule) {
  for (DeviceRule& known : access->exceptions) {
    if (!sameDevice(known, rule)) continue;
    known.access |= rule.access;
    return;
  }
  access->exceptions.push_back(rule);
}

void removeException(DeviceAccess* access, const DeviceRule& rule) {
  for (DeviceRule& known : access->exceptions) {
    if (sameDevice(known, rule)) known.access &= ~rule.access;
  }
  std::erase_if(access->exceptions, [](const DeviceRule& known) { return known.access == 0; });
}

// Documentation/bpf/standardization/instruction-set.rst
enum Opcode : uint8_t {
  kLoadWord = 0x61,          // dst = *(u32 *)(src + offset)
  kMove = 0xbc,              // dst = src, 32 bits
  kMoveValue = 0xb4,         // dst = immediate
  kAndValue = 0x54,          // dst &= immediate
  kShiftRight = 0x74,        // dst >>= immediate
  kJumpUnequal = 0x5e,       // 32-bit registers
  kJumpUnequalValue = 0x56,  // register against immediate
  kJumpEqualValue = 0x16,
  kExit = 0x95,
};
// Registers: 0 the answer, 1 the context and later a scratch, 2 type, 3 access, 4 major, 5 minor.
enum Register : uint8_t { kAnswer = 0, kContext = 1, kType = 2, kAccess = 3, kMajor = 4, kMinor = 5 };

class Assembler {
 public:
  void add(Opcode code, Register to, Register from, int16_t offset, uint32_t immediate) {
    code_.push_back(uint64_t{code} | uint64_t{to} << 8 | uint64_t{from} << 12 |
                    uint64_t{static_cast<uint16_t>(offset)} << 16 | uint64_t{immediate} << 32);
  }
  /** A jump to wherever endRule() is called next. */
  void leaveRule(Opcode code, Register left, Register right, uint32_t immediate) {
    open_.push_back(code_.size());
    add(code, left, right, 0, immediate);
  }
  void endRule() {
    for (const size_t at : open_) code_[at] |= uint64_t{static_cast<uint16_t>(code_.size() - at - 1)} << 16;
    open_.clear();
  }
  void answer(bool allow) {
    add(kMoveValue, kAnswer, kAnswer, 0, allow ? 1 : 0);
    add(kExit, kAnswer, kAnswer, 0, 0);
  }
  std::vector<uint64_t> take() { return std::move(code_); }

 private:
  std::vector<uint64_t> code_;
  std::vector<size_t> open_;
};

}  // namespace

bool readDeviceRules(Context* context, const View& list, std::vector<DeviceRule>* rules) {
  if (!context->array(list)) return false;
  // The program of more would be longer than the kernel's smallest limit (4096 instructions).
  constexpr uint32_t kMaxRules = 400;
  if (list.count() > kMaxRules) return context->fail(list, "has more than 400 rules");
  for (uint32_t index = 0; index < list.count(); ++index) {
    DeviceRule rule;
    if (!readRule(context, list.element(index), &rule)) return false;
    rules->push_back(rule);
  }
  if (rules->empty()) return true;
  for (const DeviceRule& rule : standardRules()) rules->push_back(rule);
  return true;
}

std::string deviceRuleText(const DeviceRule& rule) {
  if (rule.all) return "a";
  const auto number = [](int64_t value) { return value < 0 ? std::string("*") : std::to_string(value); };
  std::string text = rule.type == kDeviceBlock ? "b " : "c ";
  text += number(rule.major) + ":" + number(rule.minor) + " ";
  if ((rule.access & kDeviceRead) != 0) text += "r";
  if ((rule.access & kDeviceWrite) != 0) text += "w";
  if ((rule.access & kDeviceMknod) != 0) text += "m";
  return text;
}

DeviceAccess combine(const std::vector<DeviceRule>& rules) {
  DeviceAccess access;
  for (const DeviceRule& rule : rules) {
    if (rule.all) {
      access = {rule.allow, {}};
    } else if (rule.allow == access.allowedByDefault) {
      removeException(&access, rule);
    } else {
      addException(&access, rule);
    }
  }
  return access;
}

bool parseDeviceList(std::string_view text, DeviceAccess* access) {
  *access = {false, {}};
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    char type = 0;
    char major[16];
    char minor[16];
    char granted[8];
    if (sscanf(line.c_str(), "%c %15[0-9*]:%15[0-9*] %7[rwm]", &type, major, minor, granted) != 4) return false;
    if (type == 'a') {
      *access = {true, {}};
      return true;
    }
    DeviceRule rule;
    rule.allow = true;
    rule.type = type == 'b' ? kDeviceBlock : kDeviceChar;
    if (major[0] != '*') rule.major = strtoll(major, nullptr, 10);
    if (minor[0] != '*') rule.minor = strtoll(minor, nullptr, 10);
    rule.access = accessBits(granted);
    access->exceptions.push_back(rule);
  }
  return true;
}

std::vector<DeviceRule> deviceChanges(const DeviceAccess& from, const DeviceAccess& to) {
  std::vector<DeviceRule> changes;
  const bool whole = from.allowedByDefault || to.allowedByDefault;
  if (whole) {
    DeviceRule all;
    all.all = true;
    all.allow = to.allowedByDefault;
    changes.push_back(all);
  }
  const auto missing = [](const DeviceAccess& in, const DeviceRule& rule) {
    for (const DeviceRule& known : in.exceptions) {
      if (sameDevice(known, rule)) return rule.access & ~known.access;
    }
    return rule.access;
  };
  const auto add = [&](DeviceRule rule, uint32_t access, bool allow) {
    rule.allow = allow;
    rule.access = access;
    if (access != 0) changes.push_back(rule);
  };
  // Grants come first, so that a device which a wider rule allowed is never without one.
  for (const DeviceRule& rule : to.exceptions) {
    add(rule, whole ? rule.access : missing(from, rule), !to.allowedByDefault);
  }
  for (const DeviceRule& rule : from.exceptions) {
    if (!whole) add(rule, missing(to, rule), false);
  }
  return changes;
}

std::vector<uint64_t> deviceProgram(const DeviceAccess& access) {
  // struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor
  Assembler program;
  program.add(kLoadWord, kType, kContext, 0, 0);
  program.add(kMove, kAccess, kType, 0, 0);
  program.add(kAndValue, kType, kAnswer, 0, 0xffff);
  program.add(kShiftRight, kAccess, kAnswer, 0, 16);
  program.add(kLoadWord, kMajor, kContext, 4, 0);
  program.add(kLoadWord, kMinor, kContext, 8, 0);
  for (const DeviceRule& rule : access.exceptions) {
    program.leaveRule(kJumpUnequalValue, kType, kAnswer, rule.type);
    if (rule.major >= 0) program.leaveRule(kJumpUnequalValue, kMajor, kAnswer, static_cast<uint32_t>(rule.major));
    if (rule.minor >= 0) program.leaveRule(kJumpUnequalValue, kMinor, kAnswer, static_cast<uint32_t>(rule.minor));
    if (rule.access != kAnyAccess) {
      // What is asked for must be granted in whole, and is refused when any of it is.
      program.add(kMove, kContext, kAccess, 0, 0);
      program.add(kAndValue, kContext, kAnswer, 0, rule.access);
      if (access.allowedByDefault) {
        program.leaveRule(kJumpEqualValue, kContext, kAnswer, 0);
      } else {
        program.leaveRule(kJumpUnequal, kContext, kAccess, 0);
      }
    }
    program.answer(!access.allowedByDefault);
    program.endRule();
  }
  program.answer(access.allowedByDefault);
  return program.take();
}

}  // namespace bulkhead::plan
