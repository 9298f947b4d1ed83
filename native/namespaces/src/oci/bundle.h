// A bundle's config.json, and what of it belongs to the command line rather than to the plan.
#pragma once

#include <rapidjson/document.h>

#include <string>

#include "oci/session.h"

namespace bulkhead::oci {

struct Bundle {
  /** Absolute. */
  std::string path;
  std::string rootfs;
  std::string config;
  rapidjson::Document spec;

  bool load(Session* session, const std::string& directory);
  std::string cgroupsPath() const;
};

}  // namespace bulkhead::oci
