// A valid PlanInput to change one thing in.
#pragma once

#include <string>
#include <string_view>

#include "plan/compile.h"

namespace bulkhead::test {

/** The text of a complete PlanInput. */
std::string planInput();
/** Replaces the one place where `from` occurs; aborts the test run when it is not there exactly once. */
std::string with(std::string text, std::string_view from, std::string_view to);
/** "pointer: message", or "" when it compiles. */
std::string compileError(const std::string& json);
/** A profile that, like Docker's, allows most system calls by name, some by argument, and answers EPERM otherwise. */
std::string allowListProfile();

}  // namespace bulkhead::test
