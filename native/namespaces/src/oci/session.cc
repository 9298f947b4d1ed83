#include "oci/session.h"

#include <fcntl.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <ctime>

#include "sys/syscalls.h"

namespace bulkhead::oci {
namespace {

std::string quoted(std::string_view text) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
  return {buffer.GetString(), buffer.GetSize()};
}

}  // namespace

std::string timestamp() {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  struct tm parts;
  gmtime_r(&now.tv_sec, &parts);
  char text[48];
  snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", parts.tm_year + 1900, parts.tm_mon + 1,
           parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, now.tv_nsec);
  return text;
}

bool Session::fail(std::string message) {
  if (failure_.empty()) failure_ = std::move(message);
  return false;
}

bool Session::fail(std::string_view what, const Error& error) {
  std::string message(what);
  message += std::string(": ") + error.op;
  if (!error.path.empty()) message += " " + std::string(error.path.view());
  return fail(message + ": " + strerror(error.err));
}

void Session::write(std::string_view level, std::string_view message) const {
  // Callers read these lines by their three keys.
  const std::string line =
      jsonLog
          ? "{\"level\":" + quoted(level) + ",\"msg\":" + quoted(message) + ",\"time\":" + quoted(timestamp()) + "}\n"
          : "time=" + quoted(timestamp()) + " level=" + std::string(level) + " msg=" + quoted(message) + "\n";
  if (logPath.empty()) {
    (void)sys::writeAll(STDERR_FILENO, line.data(), line.size()).ok();
    return;
  }
  // A pipe that nobody reads must not hold a container up.
  constexpr int kFlags = O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_NONBLOCK;
  Result<Fd> file = sys::openAt(AT_FDCWD, logPath.c_str(), kFlags, 0644);
  if (file.ok()) (void)sys::writeAll(file.value().get(), line.data(), line.size()).ok();
}

void Session::report() const {
  if (failure_.empty()) return;
  write("error", failure_);
  if (logPath.empty()) return;
  const std::string line = "bulkhead-oci: " + failure_ + "\n";
  (void)sys::writeAll(STDERR_FILENO, line.data(), line.size()).ok();
}

}  // namespace bulkhead::oci
