// JSON documents as files: read whole and bounded, written from values.
#pragma once

#include <rapidjson/document.h>

#include <string>
#include <string_view>

#include "oci/session.h"
#include "plan/json.h"

namespace bulkhead::oci {

/** The whole of a file of at most plan::kMaxJsonBytes. */
bool readText(Session* session, int at, const char* path, std::string* text);
bool parseText(Session* session, std::string_view what, std::string_view text, rapidjson::Document* document);
std::string toText(const rapidjson::Value& value, bool pretty);
/** A copy of the text as a value of `document`. */
rapidjson::Value textValue(std::string_view text, rapidjson::Document* document);
/** The member's text, or nothing. */
std::string textMember(const rapidjson::Value& object, const char* name);
void setMember(rapidjson::Value* object, const char* name, rapidjson::Value value, rapidjson::Document* document);

}  // namespace bulkhead::oci
