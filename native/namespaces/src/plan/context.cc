#include "plan/context.h"

#include <climits>
#include <cstring>

namespace bulkhead::plan {

bool Context::fail(const View& at, std::string message) {
  if (error_.message.empty()) error_ = {at.pointer(), std::move(message)};
  return false;
}

void Context::warn(const View& at, const std::string& message) {
  warnText(at.pointer() + ": " + message);
}

void Context::warnText(const std::string& warning) {
  if (warnings_.size() < 100) warnings_.push_back(warning);
}

bool Context::text(const View& at, Str* target) {
  if (!at.present()) return true;
  if (!at.isString()) return fail(at, "must be a string");
  if (memchr(at.text().data(), '\0', at.text().size()) != nullptr) return fail(at, "must not contain a NUL byte");
  *target = keep(at.text());
  return arena_->exhausted() ? fail(at, "too large") : true;
}

bool Context::requiredText(const View& at, Str* target) {
  if (!at.present()) return fail(at, "is required");
  if (!text(at, target)) return false;
  return target->empty() ? fail(at, "must not be empty") : true;
}

bool Context::absolutePath(const View& at, Str* target) {
  if (!requiredText(at, target)) return false;
  if (target->data[0] != '/') return fail(at, "must be an absolute path");
  return target->size < PATH_MAX ? true : fail(at, "is longer than 4095 bytes");
}

bool Context::containerPath(const View& at, Str* target) {
  Str path;
  if (!absolutePath(at, &path)) return false;
  std::string clean;
  std::string_view rest = path.view();
  while (!rest.empty()) {
    const size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") return fail(at, "must not contain '..'");
    if (part.size() > NAME_MAX) return fail(at, "has a name longer than 255 bytes");
    if (!clean.empty()) clean += '/';
    clean += part;
  }
  *target = keep(clean);
  return arena_->exhausted() ? fail(at, "too large") : true;
}

bool Context::boolean(const View& at, bool* target) {
  if (!at.present()) return true;
  if (!at.value().IsBool()) return fail(at, "must be true or false");
  *target = at.value().GetBool();
  return true;
}

bool Context::integer(const View& at, int64_t minimum, int64_t maximum, int64_t* target) {
  if (!at.present()) return true;
  int64_t number = 0;
  if (at.value().IsInt64()) {
    number = at.value().GetInt64();
  } else if (at.value().IsUint64()) {
    // OCI spells "unlimited" as the largest unsigned number in places where the kernel takes -1.
    number = at.value().GetUint64() == UINT64_MAX ? -1 : INT64_MAX;
  } else if (at.value().IsDouble() && at.value().GetDouble() >= -9007199254740992.0 &&
             at.value().GetDouble() <= 9007199254740992.0 &&
             at.value().GetDouble() == static_cast<double>(static_cast<int64_t>(at.value().GetDouble()))) {
    number = static_cast<int64_t>(at.value().GetDouble());
  } else {
    return fail(at, "must be an integer");
  }
  if (number < minimum || number > maximum) {
    return fail(at, "must be from " + std::to_string(minimum) + " to " + std::to_string(maximum));
  }
  *target = number;
  return true;
}

bool Context::unsigned32(const View& at, uint32_t* target) {
  int64_t number = *target;
  if (!integer(at, 0, UINT32_MAX, &number)) return false;
  *target = static_cast<uint32_t>(number);
  return true;
}

bool Context::unsigned64(const View& at, uint64_t* target) {
  if (!at.present()) return true;
  if (at.value().IsUint64()) {
    *target = at.value().GetUint64();
    return true;
  }
  int64_t number = 0;
  // JavaScript rounds 2^64-1 (RLIM_INFINITY) up to 2^64 when it writes it as a number.
  if (at.value().IsDouble() && at.value().GetDouble() == 18446744073709551616.0) {
    *target = UINT64_MAX;
    return true;
  }
  if (!integer(at, 0, INT64_MAX, &number)) return false;
  *target = static_cast<uint64_t>(number);
  return true;
}

bool Context::texts(const View& at, Span<Str>* target) {
  if (!array(at)) return false;
  std::vector<Str> items(at.count());
  for (uint32_t index = 0; index < at.count(); ++index) {
    const View element = at.element(index);
    if (!element.isString()) return fail(element, "must be a string");
    if (!text(element, &items[index])) return false;
  }
  return store(at, items, target);
}

bool Context::object(const View& at) {
  return !at.present() || at.isObject() ? true : fail(at, "must be an object");
}

bool Context::array(const View& at) {
  return !at.present() || at.isArray() ? true : fail(at, "must be an array");
}

}  // namespace bulkhead::plan
