// Who the container is, for those outside who are told of it: seccomp listeners and the keyring's name.
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "plan/compile.h"

namespace bulkhead::plan {
namespace {

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

void put(Writer* writer, const char* key, const View& value) {
  writer->Key(key);
  if (value.present()) {
    value.value().Accept(*writer);
  } else {
    writer->String("");
  }
}

/** ContainerProcessState up to the process's number, which is known only when there is a process. */
bool compileProcessState(Context* context, const View& input, Process* target) {
  const View spec = input.member("spec");
  const View linuxPart = spec.member("linux");
  const View ofContainer = linuxPart.member("seccomp");
  const View ofExec = input.member("seccomp");
  const View& seccomp = ofExec.present() ? ofExec : ofContainer;
  const View path = seccomp.member("listenerPath");
  if (!path.present()) return true;
  if (!context->absolutePath(path, &target->seccomp.listenerPath)) return false;
  // struct sockaddr_un
  if (target->seccomp.listenerPath.size > 107) return context->fail(path, "is longer than 107 bytes");
  const View metadata = seccomp.member("listenerMetadata");
  const View state = input.member("state");
  const View annotations = spec.member("annotations");
  Str unused;
  if (!context->text(metadata, &unused) || !context->object(state) || !context->object(annotations)) return false;

  rapidjson::StringBuffer text;
  Writer writer(text);
  writer.StartObject();
  writer.Key("ociVersion");
  writer.String("1.3.0");
  writer.Key("fds");
  writer.StartArray();
  writer.String("seccompFd");
  writer.EndArray();
  put(&writer, "metadata", metadata);
  writer.Key("state");
  writer.StartObject();
  writer.Key("ociVersion");
  writer.String("1.3.0");
  put(&writer, "id", state.member("id"));
  writer.Key("status");
  writer.String(ofExec.present() ? "running" : "creating");
  put(&writer, "bundle", state.member("bundle"));
  if (annotations.present()) put(&writer, "annotations", annotations);
  writer.Key("pid");
  // The writer puts the colon in front of the value, which is not known yet.
  target->seccomp.stateBefore = context->keep(std::string(text.GetString(), text.GetSize()) + ":");
  return context->arena()->exhausted() ? context->fail(seccomp, "is too large") : true;
}

}  // namespace

bool compileIdentity(Context* context, const View& input, Process* target) {
  // The session keyring of whoever started us would be open to the container.
  bool keyring = true;
  Str id;
  const View state = input.member("state");
  const View idView = state.member("id");
  if (!context->boolean(input.member("keyring"), &keyring) || !context->text(idView, &id)) return false;
  if (id.size > 1024) return context->fail(idView, "is longer than 1024 bytes");
  if (keyring) target->flags |= kProcessNewKeyring;
  if (keyring && !id.empty()) target->keyring = context->keep("_ses." + std::string(id.view()));
  return compileProcessState(context, input, target);
}

}  // namespace bulkhead::plan
