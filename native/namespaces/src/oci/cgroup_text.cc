#include "oci/cgroup_text.h"

#include <fcntl.h>

#include "oci/document.h"
#include "sys/file.h"

namespace bulkhead::oci {

std::string fileText(const std::string* directory, const std::string& file) {
  Session unheard;
  std::string text;
  if (directory == nullptr || !readText(&unheard, AT_FDCWD, (*directory + "/" + file).c_str(), &text)) return {};
  return text;
}

bool numberIn(const std::string* directory, const std::string& file, uint64_t* value) {
  std::string text = fileText(directory, file);
  text.resize(std::min(text.find('\n'), text.size()));
  if (text == "max") *value = UINT64_MAX;
  return text == "max" || sys::parseUnsigned(text, UINT64_MAX, value);
}

}  // namespace bulkhead::oci
