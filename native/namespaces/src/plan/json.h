// Bounded JSON: parsed without recursion, read through views that know their JSON pointer.
#pragma once

#include <rapidjson/document.h>

#include <string>
#include <string_view>

namespace bulkhead::plan {

inline constexpr size_t kMaxJsonBytes = 4 << 20;
inline constexpr int kMaxJsonDepth = 32;
inline constexpr int kMaxJsonNodes = 200'000;

/** Parses `text` into `document`; false with `reason` set when it is no JSON or breaks a bound above. */
bool parseBounded(std::string_view text, rapidjson::Document* document, std::string* reason);

/** A value (or its absence) at a place in the document. JSON null counts as absent. Lives on the stack. */
class View {
 public:
  explicit View(const rapidjson::Value& root) : value_(&root) {}
  View(const View&) = default;

  bool present() const { return value_ != nullptr; }
  bool isObject() const { return present() && value_->IsObject(); }
  bool isArray() const { return present() && value_->IsArray(); }
  bool isString() const { return present() && value_->IsString(); }

  /** The member's view; absent when this is absent or not an object. `this` must outlive it, so no temporaries. */
  View member(const char* name) const&;
  View member(const char* name) const&& = delete;
  View element(uint32_t index) const&;
  View element(uint32_t index) const&& = delete;
  uint32_t count() const { return isArray() ? value_->Size() : 0; }
  const rapidjson::Value& value() const { return *value_; }
  std::string_view text() const { return {value_->GetString(), value_->GetStringLength()}; }
  std::string pointer() const;

 private:
  View(const rapidjson::Value* value, const View* parent, std::string_view name, uint32_t index)
      : value_(value), parent_(parent), name_(name), index_(index) {}
  friend class Members;

  const rapidjson::Value* value_ = nullptr;
  const View* parent_ = nullptr;
  std::string_view name_;  // data() null: an array element
  uint32_t index_ = 0;
};

/** The members of an object in order. */
class Members {
 public:
  explicit Members(const View& object) : object_(object) {}
  uint32_t count() const { return object_.isObject() ? object_.value().MemberCount() : 0; }
  std::string_view name(uint32_t index) const;
  View view(uint32_t index) const;

 private:
  const View& object_;
};

}  // namespace bulkhead::plan
