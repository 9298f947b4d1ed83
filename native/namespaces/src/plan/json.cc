#include "plan/json.h"

#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

namespace bulkhead::plan {
namespace {

using rapidjson::SizeType;

/** Passes events on to a Document until there are too many or they nest too deep. */
class BoundedHandler {
 public:
  explicit BoundedHandler(rapidjson::Document* document) : document_(document) {}

  bool Null() { return node() && document_->Null(); }
  bool Bool(bool v) { return node() && document_->Bool(v); }
  bool Int(int v) { return node() && document_->Int(v); }
  bool Uint(unsigned v) { return node() && document_->Uint(v); }
  bool Int64(int64_t v) { return node() && document_->Int64(v); }
  bool Uint64(uint64_t v) { return node() && document_->Uint64(v); }
  bool Double(double v) { return node() && document_->Double(v); }
  bool RawNumber(const char*, SizeType, bool) { return false; }
  bool String(const char* v, SizeType size, bool) { return node() && document_->String(v, size, true); }
  bool Key(const char* v, SizeType size, bool) { return node() && document_->Key(v, size, true); }
  bool StartObject() { return node() && ++depth_ <= kMaxJsonDepth && document_->StartObject(); }
  bool EndObject(SizeType count) { return --depth_ >= 0 && document_->EndObject(count); }
  bool StartArray() { return node() && ++depth_ <= kMaxJsonDepth && document_->StartArray(); }
  bool EndArray(SizeType count) { return --depth_ >= 0 && document_->EndArray(count); }

 private:
  bool node() { return ++nodes_ <= kMaxJsonNodes; }

  rapidjson::Document* document_;
  int depth_ = 0;
  int nodes_ = 0;
};

}  // namespace

bool parseBounded(std::string_view text, rapidjson::Document* document, std::string* reason) {
  if (text.size() > kMaxJsonBytes) {
    *reason = "longer than 4 MiB";
    return false;
  }
  constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag;
  rapidjson::ParseResult result;
  auto generate = [&](rapidjson::Document& target) {
    rapidjson::MemoryStream stream(text.data(), text.size());
    rapidjson::Reader reader;
    BoundedHandler handler(&target);
    result = reader.Parse<kFlags>(stream, handler);
    return !result.IsError();
  };
  document->Populate(generate);
  if (!result.IsError()) return true;
  *reason = result.Code() == rapidjson::kParseErrorTermination ? "too deep or too large"
                                                               : rapidjson::GetParseError_En(result.Code());
  return false;
}

View View::member(const char* name) const& {
  const rapidjson::Value* found = nullptr;
  if (isObject()) {
    auto at = value_->FindMember(name);
    if (at != value_->MemberEnd() && !at->value.IsNull()) found = &at->value;
  }
  return View(found, this, name, 0);
}

View View::element(uint32_t index) const& {
  return View(&(*value_)[index], this, {}, index);
}

std::string View::pointer() const {
  if (parent_ == nullptr) return "";
  std::string path = parent_->pointer() + "/";
  if (name_.data() == nullptr) return path + std::to_string(index_);
  for (const char byte : name_) {
    // RFC 6901 escapes
    if (byte == '~') {
      path += "~0";
    } else if (byte == '/') {
      path += "~1";
    } else {
      path += byte;
    }
  }
  return path;
}

std::string_view Members::name(uint32_t index) const {
  const auto& name = (object_.value().MemberBegin() + index)->name;
  return {name.GetString(), name.GetStringLength()};
}

View Members::view(uint32_t index) const {
  const auto at = object_.value().MemberBegin() + index;
  return View(at->value.IsNull() ? nullptr : &at->value, &object_, name(index), 0);
}

}  // namespace bulkhead::plan
