#include "oci/arguments.h"

namespace bulkhead::oci {
namespace {

const Option* find(const Option* options, size_t count, std::string_view name) {
  for (size_t index = 0; index < count; ++index) {
    const Option& option = options[index];
    if (name == option.name || (name.size() == 1 && option.letter != 0 && name[0] == option.letter)) return &option;
  }
  return nullptr;
}

}  // namespace

bool Arguments::parse(Session* session, const Option* options, size_t count, char** words, int wordCount) {
  int at = 0;
  for (; at < wordCount; ++at) {
    std::string_view word = words[at];
    if (word.size() < 2 || word[0] != '-') break;
    if (word == "--") {
      ++at;
      break;
    }
    word.remove_prefix(word[1] == '-' ? 2 : 1);
    const size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const Option* option = find(options, count, name);
    if (option == nullptr) return session->fail("unknown option " + std::string(words[at]));
    std::string value;
    if (equals != std::string_view::npos) {
      value = word.substr(equals + 1);
    } else if (option->kind == OptionKind::flag) {
      value = "true";
    } else if (at + 1 < wordCount) {
      value = words[++at];
    } else {
      return session->fail("option " + std::string(words[at]) + " needs a value");
    }
    if (option->kind == OptionKind::flag && value != "true" && value != "false") {
      return session->fail("option --" + std::string(option->name) + " is true or false");
    }
    given_.push_back({option, value});
  }
  for (; at < wordCount; ++at) operands_.emplace_back(words[at]);
  return true;
}

const Arguments::Given* Arguments::last(std::string_view name) const {
  for (auto given = given_.rbegin(); given != given_.rend(); ++given) {
    if (name == given->option->name) return &*given;
  }
  return nullptr;
}

bool Arguments::flag(std::string_view name) const {
  const Given* given = last(name);
  return given != nullptr && given->value == "true";
}

std::string Arguments::value(std::string_view name, std::string_view otherwise) const {
  const Given* given = last(name);
  return given == nullptr ? std::string(otherwise) : given->value;
}

std::vector<std::string> Arguments::list(std::string_view name) const {
  std::vector<std::string> values;
  for (const Given& given : given_) {
    if (name == given.option->name) values.push_back(given.value);
  }
  return values;
}

}  // namespace bulkhead::oci
