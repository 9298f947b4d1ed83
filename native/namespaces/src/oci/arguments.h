// Options and operands of a command, in the form that container engines write them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "oci/session.h"
#include "sys/span.h"

namespace bulkhead::oci {

enum class OptionKind : uint8_t { flag, value, list };

struct Option {
  const char* name;
  /** One letter, or 0. */
  char letter;
  OptionKind kind;
  const char* help;
};

class Arguments {
 public:
  /**
   * Reads options up to the first operand: `--name value`, `--name=value`, `-n value`, `--flag`, `--flag=false`; one
   * dash does as well as two. "--" ends them.
   */
  bool parse(Session* session, const Option* options, size_t count, char** words, int wordCount);

  bool has(std::string_view name) const { return last(name) != nullptr; }
  bool flag(std::string_view name) const;
  /** The last value given, or `otherwise`. */
  std::string value(std::string_view name, std::string_view otherwise = {}) const;
  std::vector<std::string> list(std::string_view name) const;
  const std::vector<std::string>& operands() const { return operands_; }

 private:
  struct Given {
    const Option* option;
    std::string value;
  };
  const Given* last(std::string_view name) const;

  std::vector<Given> given_;
  std::vector<std::string> operands_;
};

}  // namespace bulkhead::oci
