// The smallest test runner that can fail: register, run, count.
#pragma once

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::test {

struct Case {
  const char* name;
  void (*body)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
inline int& failures() {
  static int count = 0;
  return count;
}

struct Registration {
  Registration(const char* name, void (*body)()) { cases().push_back({name, body}); }
};

inline void expect(bool held, const char* expression, const char* file, int line, const std::string& detail = {}) {
  if (held) return;
  ++failures();
  fprintf(stderr, "%s:%d: expected %s %s\n", file, line, expression, detail.c_str());
}

inline void expectEqual(const std::string& actual, const std::string& expected, const char* expression,
                        const char* file, int line) {
  if (actual == expected) return;
  ++failures();
  fprintf(stderr, "%s:%d: %s is \"%s\", expected \"%s\"\n", file, line, expression, actual.c_str(), expected.c_str());
}

}  // namespace bulkhead::test

#define TEST(name)                                                         \
  static void name();                                                      \
  static const bulkhead::test::Registration name##Registered(#name, name); \
  static void name()
#define EXPECT(condition) bulkhead::test::expect((condition), #condition, __FILE__, __LINE__)
#define EXPECT_THAT(condition, detail) bulkhead::test::expect((condition), #condition, __FILE__, __LINE__, detail)
#define EXPECT_TEXT(actual, expected) \
  bulkhead::test::expectEqual(std::string(actual), std::string(expected), #actual, __FILE__, __LINE__)
