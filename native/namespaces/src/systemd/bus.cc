#include "systemd/bus.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "sys/retry.h"

namespace bulkhead::systemd {
namespace {

constexpr const char* kOwnSocket = "/run/systemd/private";
constexpr const char* kSystemBus = "/run/dbus/system_bus_socket";
constexpr std::string_view kSystemd = "org.freedesktop.systemd1";
constexpr std::string_view kManagerPath = "/org/freedesktop/systemd1";
constexpr std::string_view kManager = "org.freedesktop.systemd1.Manager";
constexpr std::string_view kBusName = "org.freedesktop.DBus";
constexpr size_t kMaxLine = 256;
// Jobs of other units end meanwhile; more of them than this within our time are nobody's normal day.
constexpr size_t kMaxSignals = 4096;

int64_t nowMs() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

bool fail(BusError* error, std::string text) {
  *error = {"", std::move(text)};
  return false;
}

bool failCall(BusError* error, const char* what) {
  return fail(error, std::string(what) + ": " + strerror(errno));
}

}  // namespace

bool Bus::connectTo(const char* path, BusError* error) {
  socket_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket_.valid()) return failCall(error, "socket");
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  if (connect(socket_.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) < 0) {
    return failCall(error, path);
  }
  return authenticate(error);
}

bool Bus::open(int timeoutMs, BusError* error) {
  deadlineMs_ = nowMs() + timeoutMs;
  // systemd's own socket needs no other service, and tells of jobs without being asked.
  if (connectTo(kOwnSocket, error)) return true;
  const std::string first = error->text;
  if (connectTo(kSystemBus, error)) return subscribe(error);
  return fail(error, "systemd cannot be reached: " + first + "; " + error->text);
}

bool Bus::awaitReady(short events, BusError* error) {
  struct pollfd slot = {socket_.get(), events, 0};
  const int64_t left = deadlineMs_ - nowMs();
  if (left <= 0) return fail(error, "systemd did not answer in time");
  const long ready = sys::retry([&] { return poll(&slot, 1, static_cast<int>(left)); });
  return ready >= 0 ? true : failCall(error, "poll");
}

bool Bus::sendBytes(std::string_view bytes, BusError* error) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return failCall(error, "send to systemd");
    if (sent < 0 && !awaitReady(POLLOUT, error)) return false;
  }
  return true;
}

bool Bus::receiveBytes(size_t size, std::string* bytes, BusError* error) {
  const size_t whole = bytes->size() + size;
  while (bytes->size() < whole) {
    char part[4096];
    const ssize_t count = recv(socket_.get(), part, std::min(sizeof part, whole - bytes->size()), 0);
    if (count > 0) bytes->append(part, static_cast<size_t>(count));
    if (count == 0) return fail(error, "systemd closed the connection");
    if (count < 0 && errno != EAGAIN && errno != EINTR) return failCall(error, "receive from systemd");
    if (count < 0 && !awaitReady(POLLIN, error)) return false;
  }
  return true;
}

bool Bus::authenticate(BusError* error) {
  // dbus-specification, "Authentication Protocol": a NUL byte, then who we are, as the hex digits of our uid in
  // decimal.
  std::string request("\0AUTH EXTERNAL ", 15);
  for (const char digit : std::to_string(geteuid())) request += std::string("3") + digit;
  // The end of it at once, as systemd's own clients have it: a call that systemd reads together with a later BEGIN
  // stays in its buffer until more comes.
  if (!sendBytes(request + "\r\nBEGIN\r\n", error)) return false;
  std::string line;
  while (!line.ends_with("\r\n")) {
    if (line.size() >= kMaxLine) return fail(error, "systemd's greeting is too long");
    if (!receiveBytes(1, &line, error)) return false;
  }
  return line.starts_with("OK ") ? true : fail(error, "systemd refused us: " + line.substr(0, line.size() - 2));
}

bool Bus::subscribe(BusError* error) {
  const auto ask = [&](std::string_view member, std::string_view argument) {
    Values body;
    if (!argument.empty()) body.text(argument);
    const std::string_view signature = argument.empty() ? "" : "s";
    std::string answer;
    return call({kBusName, "/org/freedesktop/DBus", kBusName, member, signature, body.bytes()}, &answer, error);
  };
  std::string answer;
  return ask("Hello", "") &&
         ask("AddMatch",
             "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',"
             "member='JobRemoved'") &&
         callManager("Subscribe", "", Values(), &answer, error);
}

bool Bus::receiveMessage(std::string* bytes, Message* message, BusError* error) {
  bytes->clear();
  if (!receiveBytes(kPrefixBytes, bytes, error)) return false;
  const size_t whole = messageBytes(*bytes);
  if (whole == 0) return fail(error, "systemd sent a message that is none");
  if (!receiveBytes(whole - kPrefixBytes, bytes, error)) return false;
  return decodeMessage(*bytes, message) ? true : fail(error, "systemd sent a malformed message");
}

bool Bus::call(const Call& call, std::string* answer, BusError* error) {
  const uint32_t serial = ++serial_;
  const std::string request = encodeCall(call, serial);
  if (request.empty()) return fail(error, "the call is too long");
  if (!sendBytes(request, error)) return false;
  for (;;) {
    std::string bytes;
    Message message;
    if (!receiveMessage(&bytes, &message, error)) return false;
    if (message.type == MessageType::signal) {
      if (signals_.size() >= kMaxSignals) return fail(error, "systemd sent too many signals");
      signals_.push_back(std::move(bytes));
    }
    if (message.answers != serial) continue;
    if (message.type == MessageType::reply) {
      *answer = message.body;
      return true;
    }
    if (message.type != MessageType::error) continue;
    std::string_view text;
    Reader body(message.body);
    if (!message.signature.starts_with('s') || !body.text(&text)) text = message.errorName;
    *error = {std::string(message.errorName), std::string(call.member) + ": " + std::string(text)};
    return false;
  }
}

bool Bus::callManager(std::string_view member, std::string_view signature, const Values& arguments, std::string* answer,
                      BusError* error) {
  return call({kSystemd, kManagerPath, kManager, member, signature, arguments.bytes()}, answer, error);
}

bool Bus::awaitJob(std::string_view job, BusError* error) {
  for (;;) {
    std::string bytes;
    Message message;
    if (!signals_.empty()) {
      bytes = std::move(signals_.front());
      signals_.pop_front();
      if (!decodeMessage(bytes, &message)) continue;
    } else if (!receiveMessage(&bytes, &message, error)) {
      return false;
    }
    // JobRemoved: its number, the job, the unit, and how it ended.
    if (message.member != "JobRemoved" || message.interface != kManager || message.signature != "uoss") continue;
    uint32_t number = 0;
    std::string_view path;
    std::string_view unit;
    std::string_view result;
    Reader body(message.body);
    if (!body.u32(&number) || !body.text(&path) || !body.text(&unit) || !body.text(&result) || path != job) continue;
    if (result == "done") return true;
    return fail(error, "the job of " + std::string(unit) + " ended as " + std::string(result));
  }
}

}  // namespace bulkhead::systemd
