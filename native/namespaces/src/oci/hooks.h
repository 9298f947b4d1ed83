// Hooks that run in the runtime's own namespaces.
#pragma once

#include <rapidjson/document.h>

#include "oci/instance.h"
#include "oci/session.h"

namespace bulkhead::oci {

/** Whether the specification has a hook that must run while a container is being created. */
bool hooksWhileCreating(const rapidjson::Document& spec);
/** Runs the hooks of one moment with the bundle as working directory; `phase` is what they are told. */
bool runHooksAt(Session* session, const rapidjson::Document& spec, const char* moment, const Instance& instance,
                Phase phase);

}  // namespace bulkhead::oci
