// features: what this runtime supports, as the runtime specification's features
// document.
#include "plan/features.h"

#include <cstdio>

#include "oci/command.h"

namespace bulkhead::oci {

int runFeatures(Session*, const Arguments&) {
  fputs(plan::featuresDocument().c_str(), stdout);
  return 0;
}

}  // namespace bulkhead::oci
