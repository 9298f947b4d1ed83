// Files of a cgroup as text, in lines of words.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "cgroup/control.h"

namespace bulkhead::oci {

/** The text of one file of a cgroup; empty when it is missing, or there is no cgroup. */
std::string fileText(const std::string* directory, const std::string& file);
/** A file's number; "max" is the largest. False when there is none. */
bool numberIn(const std::string* directory, const std::string& file, uint64_t* value);

/** Calls `visit` with each line and its words, split at blanks. */
template <class Visit>
void forEachLine(std::string_view text, Visit visit) {
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    std::vector<std::string_view> words;
    while (!line.empty()) {
      const std::string_view word = line.substr(0, line.find(' '));
      line.remove_prefix(std::min(word.size() + 1, line.size()));
      if (!word.empty()) words.push_back(word);
    }
    if (!words.empty()) visit(words);
  }
}

}  // namespace bulkhead::oci
