#include "plan/features.h"

#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include <string_view>
#include <vector>

#include "plan/mount_words.h"
#include "plan/names.h"
#include "seccomp/compile.h"

namespace bulkhead::plan {
namespace {

using Writer = rapidjson::PrettyWriter<rapidjson::StringBuffer>;

void text(Writer* writer, std::string_view value) {
  writer->String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
}

void list(Writer* writer, const char* key, const std::vector<std::string_view>& values) {
  writer->Key(key);
  writer->StartArray();
  for (const std::string_view value : values) text(writer, value);
  writer->EndArray();
}

void enabled(Writer* writer, const char* key, bool value) {
  writer->Key(key);
  writer->StartObject();
  writer->Key("enabled");
  writer->Bool(value);
  writer->EndObject();
}

void seccompPart(Writer* writer) {
  writer->Key("seccomp");
  writer->StartObject();
  writer->Key("enabled");
  writer->Bool(true);
  list(writer, "actions", seccomp::actionNames());
  list(writer, "operators", seccomp::compareNames());
  list(writer, "archs", {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"});
  list(writer, "knownFlags", seccomp::flagNames());
  list(writer, "supportedFlags", seccomp::flagNames());
  writer->EndObject();
}

void linuxPart(Writer* writer) {
  writer->Key("linux");
  writer->StartObject();
  list(writer, "namespaces", namespaceNames());
  std::vector<std::string> capabilities;
  for (const std::string_view name : capabilityNames()) capabilities.push_back("CAP_" + std::string(name));
  list(writer, "capabilities", {capabilities.begin(), capabilities.end()});
  writer->Key("cgroup");
  writer->StartObject();
  for (const auto& [key, value] :
       {std::pair{"v1", true}, {"v2", true}, {"systemd", true}, {"systemdUser", false}, {"rdma", true}}) {
    writer->Key(key);
    writer->Bool(value);
  }
  writer->EndObject();
  seccompPart(writer);
  enabled(writer, "apparmor", true);
  enabled(writer, "selinux", true);
  enabled(writer, "intelRdt", false);
  writer->Key("memoryPolicy");
  writer->StartObject();
  list(writer, "modes", memoryModeNames());
  list(writer, "flags", memoryFlagNames());
  writer->EndObject();
  writer->Key("mountExtensions");
  writer->StartObject();
  enabled(writer, "idmap", true);
  writer->EndObject();
  enabled(writer, "netDevices", true);
  writer->EndObject();
}

}  // namespace

std::string featuresDocument() {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.SetIndent(' ', 2);
  writer.StartObject();
  writer.Key("ociVersionMin");
  writer.String("1.0.0");
  writer.Key("ociVersionMax");
  writer.String("1.3.0");
  list(&writer, "hooks", {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"});
  list(&writer, "mountOptions", mountWords());
  linuxPart(&writer);
  writer.Key("annotations");
  writer.StartObject();
  writer.EndObject();
  list(&writer, "potentiallyUnsafeConfigAnnotations", {"org.bulkhead.", "org.systemd.property."});
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

}  // namespace bulkhead::plan
