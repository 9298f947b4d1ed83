#include "oci/document.h"

#include <fcntl.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "sys/syscalls.h"

namespace bulkhead::oci {

bool readText(Session* session, int at, const char* path, std::string* text) {
  Result<Fd> file = sys::openAt(at, path, O_RDONLY | O_NOCTTY);
  if (!file.ok()) return session->fail("cannot read", file.error());
  text->clear();
  for (;;) {
    char part[16384];
    Result<size_t> size = sys::readSome(file.value().get(), part, sizeof part);
    if (!size.ok()) return session->fail(std::string("cannot read ") + path, size.error());
    if (size.value() == 0) return true;
    text->append(part, size.value());
    if (text->size() > plan::kMaxJsonBytes) return session->fail(std::string(path) + " is longer than 4 MiB");
  }
}

bool parseText(Session* session, std::string_view what, std::string_view text, rapidjson::Document* document) {
  std::string reason;
  if (plan::parseBounded(text, document, &reason)) return true;
  return session->fail(std::string(what) + ": " + reason);
}

std::string toText(const rapidjson::Value& value, bool pretty) {
  rapidjson::StringBuffer buffer;
  if (pretty) {
    rapidjson::PrettyWriter<rapidjson::StringBuffer> writer(buffer);
    writer.SetIndent(' ', 2);
    value.Accept(writer);
  } else {
    rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
    value.Accept(writer);
  }
  return {buffer.GetString(), buffer.GetSize()};
}

rapidjson::Value textValue(std::string_view text, rapidjson::Document* document) {
  rapidjson::Value value;
  value.SetString(text.data(), static_cast<rapidjson::SizeType>(text.size()), document->GetAllocator());
  return value;
}

std::string textMember(const rapidjson::Value& object, const char* name) {
  if (!object.IsObject()) return {};
  const auto at = object.FindMember(name);
  if (at == object.MemberEnd() || !at->value.IsString()) return {};
  return {at->value.GetString(), at->value.GetStringLength()};
}

void setMember(rapidjson::Value* object, const char* name, rapidjson::Value value, rapidjson::Document* document) {
  const auto at = object->FindMember(name);
  if (at != object->MemberEnd()) {
    at->value = value;
  } else {
    object->AddMember(textValue(name, document), value, document->GetAllocator());
  }
}

}  // namespace bulkhead::oci
