#include "systemd/properties.h"

#include "plan/cgroup_writes.h"
#include "plan/compile.h"
#include "sys/file.h"

namespace bulkhead::systemd {
namespace {

// systemd rounds a quota to this, and the kernel refuses a smaller one.
constexpr uint64_t kQuotaStepUs = 10'000;
constexpr uint64_t kSecondUs = 1'000'000;
constexpr uint64_t kDefaultPeriodUs = 100'000;

bool limit(plan::Context* context, const plan::View& at, const char* name, Properties* properties) {
  int64_t value = 0;
  if (!context->integer(at, -1, INT64_MAX, &value)) return false;
  // systemd's "infinity" is the largest number.
  if (at.present() && value != 0) properties->u64(name, value < 0 ? UINT64_MAX : static_cast<uint64_t>(value));
  return true;
}

bool memory(plan::Context* context, const plan::View& part, Properties* properties) {
  const plan::View limitView = part.member("limit");
  const plan::View swapView = part.member("swap");
  int64_t whole = 0;
  int64_t swap = 0;
  if (!context->integer(limitView, -1, INT64_MAX, &whole) || !context->integer(swapView, -1, INT64_MAX, &swap)) {
    return false;
  }
  if (swap < 0 || (whole < 0 && swap == 0)) {
    properties->u64("MemorySwapMax", UINT64_MAX);
  } else if (swap > 0 && whole > 0 && swap >= whole) {
    properties->u64("MemorySwapMax", static_cast<uint64_t>(swap - whole));
  }
  return limit(context, limitView, "MemoryMax", properties) &&
         limit(context, part.member("reservation"), "MemoryLow", properties);
}

bool cpu(plan::Context* context, const plan::View& part, Properties* properties) {
  uint64_t shares = 0;
  uint64_t period = 0;
  int64_t quota = 0;
  if (!context->unsigned64(part.member("shares"), &shares) || !context->unsigned64(part.member("period"), &period) ||
      !context->integer(part.member("quota"), -1, INT64_MAX / int64_t{kSecondUs}, &quota)) {
    return false;
  }
  if (shares != 0) properties->u64("CPUWeight", plan::weightForShares(shares));
  if (period != 0) properties->u64("CPUQuotaPeriodUSec", period);
  if (quota < 0) properties->u64("CPUQuotaPerSecUSec", UINT64_MAX);
  if (quota > 0) {
    const uint64_t perSecond = static_cast<uint64_t>(quota) * kSecondUs / (period == 0 ? kDefaultPeriodUs : period);
    properties->u64("CPUQuotaPerSecUSec", (perSecond + kQuotaStepUs - 1) / kQuotaStepUs * kQuotaStepUs);
  }
  for (const auto& [name, property] : {std::pair{"cpus", "AllowedCPUs"}, {"mems", "AllowedMemoryNodes"}}) {
    Span<uint64_t> words;
    if (!plan::compileAffinity(context, part.member(name), &words)) return false;
    if (!words.empty()) properties->bits(property, words);
  }
  return true;
}

/** The number and nothing else; false otherwise. */
bool wholeNumber(std::string_view text, int64_t* value) {
  const bool negative = text.starts_with('-');
  uint64_t size = 0;
  if (!sys::parseUnsigned(text.substr(negative ? 1 : 0), INT64_MAX, &size)) return false;
  *value = negative ? -static_cast<int64_t>(size) : static_cast<int64_t>(size);
  return true;
}

}  // namespace

void Properties::begin(std::string_view name, std::string_view type) {
  values_->align(8);
  values_->text(name);
  values_->signature(type);
}

void Properties::text(std::string_view name, std::string_view value) {
  begin(name, "s");
  values_->text(value);
}

void Properties::flag(std::string_view name, bool value) {
  begin(name, "b");
  values_->flag(value);
}

void Properties::u32(std::string_view name, uint32_t value) {
  begin(name, "u");
  values_->u32(value);
}

void Properties::i32(std::string_view name, int32_t value) {
  begin(name, "i");
  values_->u32(static_cast<uint32_t>(value));
}

void Properties::u64(std::string_view name, uint64_t value) {
  begin(name, "t");
  values_->u64(value);
}

void Properties::i64(std::string_view name, int64_t value) {
  begin(name, "x");
  values_->u64(static_cast<uint64_t>(value));
}

void Properties::oneOf(std::string_view name, uint32_t value) {
  begin(name, "au");
  const Values::Array list = values_->openArray(4);
  values_->u32(value);
  values_->closeArray(list);
}

void Properties::bits(std::string_view name, const Span<uint64_t>& words) {
  begin(name, "ay");
  const Values::Array list = values_->openArray(1);
  for (const uint64_t word : words) {
    for (int byte = 0; byte < 8; ++byte) values_->u8(static_cast<uint8_t>(word >> (8 * byte)));
  }
  values_->closeArray(list);
}

bool putResources(plan::Context* context, const plan::View& resources, Properties* properties) {
  const plan::View io = resources.member("blockIO");
  const plan::View pids = resources.member("pids");
  int64_t weight = 0;
  if (!memory(context, resources.member("memory"), properties) || !cpu(context, resources.member("cpu"), properties) ||
      !limit(context, pids.member("limit"), "TasksMax", properties) ||
      !context->integer(io.member("weight"), 0, 1000, &weight)) {
    return false;
  }
  // The same stretch as CgroupWrites::io().
  if (weight >= 10) properties->u64("IOWeight", static_cast<uint64_t>(1 + (weight - 10) * 9999 / 990));
  return true;
}

bool putAnnotation(std::string_view name, std::string_view value, Properties* properties) {
  // What the runtime decides itself.
  for (const std::string_view own : {"PIDs", "Slice", "Delegate"}) {
    if (name == own) return false;
  }
  if (name.empty() || name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") !=
                          std::string_view::npos) {
    return false;
  }
  if (value == "true" || value == "false") {
    properties->flag(name, value == "true");
    return true;
  }
  if (value.size() >= 2 && value.front() == '\'' && value.back() == '\'') {
    properties->text(name, value.substr(1, value.size() - 2));
    return true;
  }
  const size_t blank = value.find(' ');
  const std::string_view type = blank == std::string_view::npos ? std::string_view("int32") : value.substr(0, blank);
  const std::string_view digits = blank == std::string_view::npos ? value : value.substr(blank + 1);
  int64_t number = 0;
  uint64_t natural = 0;
  const bool isNatural = sys::parseUnsigned(digits, UINT64_MAX, &natural);
  if (!isNatural && !wholeNumber(digits, &number)) return false;
  if (isNatural) number = static_cast<int64_t>(natural);
  if (name.ends_with("Sec") && !name.ends_with("USec")) {
    if (!isNatural || natural > UINT64_MAX / kSecondUs) return false;
    properties->u64(std::string(name.substr(0, name.size() - 3)) + "USec", natural * kSecondUs);
  } else if (type == "uint64") {
    if (!isNatural) return false;
    properties->u64(name, natural);
  } else if (type == "int64") {
    if (isNatural && natural > INT64_MAX) return false;
    properties->i64(name, number);
  } else if (type == "uint32") {
    if (!isNatural || natural > UINT32_MAX) return false;
    properties->u32(name, static_cast<uint32_t>(natural));
  } else if (type == "int32") {
    if (number < INT32_MIN || number > INT32_MAX || (isNatural && natural > INT32_MAX)) return false;
    properties->i32(name, static_cast<int32_t>(number));
  } else {
    return false;
  }
  return true;
}

}  // namespace bulkhead::systemd
