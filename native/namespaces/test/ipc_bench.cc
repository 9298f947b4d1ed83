// ipc-bench serve FILES MEMORY CPU | drive FILES MEMORY CPU: what two processes exchange through a directory (sockets,
// FIFOs) and a file of shared memory. Wherever each of them runs, what they do is the same.
//
//   whoever measures ──"KIND COUNT"──▶ drive (FILES/control) ◀──socket, FIFOs, memory──▶ serve (FILES/data)
//                    ◀──nanoseconds──
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

namespace {

/** Payload of a round trip, and the piece in which much data is written. */
constexpr size_t kMessageBytes = 64;
constexpr size_t kPieceBytes = 64 * 1024;
constexpr uint32_t kSlots = 16;
/**
 * Room of a pipe, fcntl(2): some pieces. One piece fills the 64 KiB that it is born with, and what is measured then is
 * who was woken when.
 */
constexpr int kPipeBytes = 512 * 1024;

enum class Kind : uint32_t { socketTrip, socketStream, pipeTrip, pipeStream, memoryTrip, memoryStream };
constexpr const char* kKinds[] = {"socket-trip", "socket-stream", "pipe-trip",
                                  "pipe-stream", "memory-trip",   "memory-stream"};

struct Request {
  Kind kind;
  uint32_t count;
};

/** The shared page: each side writes its own cache line; slots lie behind. */
struct Memory {
  alignas(64) std::atomic<uint32_t> asked;
  alignas(64) std::atomic<uint32_t> answered;
  alignas(64) char slots[kSlots][kPieceBytes];
};

[[noreturn]] void fail(const char* what) {
  fprintf(stderr, "ipc-bench: %s: %s\n", what, strerror(errno));
  exit(1);
}

template <class Value>
Value must(Value value, const char* what) {
  if (value < 0) fail(what);
  return value;
}

void writeAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t count = must(write(fd, data, size), "write");
    data += count;
    size -= static_cast<size_t>(count);
  }
}

/** False at the end of the file; half a message is an error. */
bool readAll(int fd, char* data, size_t size) {
  for (size_t held = 0; held < size;) {
    const ssize_t count = must(read(fd, data + held, size - held), "read");
    if (count == 0 && held == 0) return false;
    if (count == 0) fail("end of data");
    held += static_cast<size_t>(count);
  }
  return true;
}

/** Spins: both sides have a CPU of their own. */
void await(const std::atomic<uint32_t>& place, uint32_t value) {
  while (place.load(std::memory_order_acquire) != value) __builtin_ia32_pause();
}

class Side {
 public:
  Side(const std::string& files, const std::string& memory) : files_(files) {
    file_ = must(open((memory + "/memory").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666), "memory");
    must(ftruncate(file_, sizeof(Memory)), "ftruncate");
    void* at = mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    if (at == MAP_FAILED) fail("mmap");
    memory_ = static_cast<Memory*>(at);
  }

  int listenAt(const char* name) const {
    const int listener = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    const struct sockaddr_un address = addressOf(name);
    must(bind(listener, reinterpret_cast<const struct sockaddr*>(&address), sizeof address), "bind");
    must(chmod(address.sun_path, 0666), "chmod");
    must(listen(listener, 8), "listen");
    return listener;
  }

  int connectTo(const char* name) const {
    const struct sockaddr_un address = addressOf(name);
    const int stream = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    must(connect(stream, reinterpret_cast<const struct sockaddr*>(&address), sizeof address), "connect");
    return stream;
  }

  void makePipes() const {
    for (const char* name : {"/there", "/back"}) must(mkfifo((files_ + name).c_str(), 0666), "mkfifo");
  }

  /** Read and write at once: opening waits for nobody. */
  void openPipes() {
    there_ = must(open((files_ + "/there").c_str(), O_RDWR | O_CLOEXEC), "FIFO");
    back_ = must(open((files_ + "/back").c_str(), O_RDWR | O_CLOEXEC), "FIFO");
    for (const int pipe : {there_, back_}) must(fcntl(pipe, F_SETPIPE_SZ, kPipeBytes), "F_SETPIPE_SZ");
  }

  /** What the serving side does for one request on `stream`. */
  void answer(const Request& request, int stream) {
    switch (request.kind) {
      case Kind::socketTrip:
        return echo(stream, stream, request.count);
      case Kind::pipeTrip:
        return echo(there_, back_, request.count);
      case Kind::socketStream:
        return drain(stream, stream, request.count);
      case Kind::pipeStream:
        return drain(there_, back_, request.count);
      case Kind::memoryTrip:
        for (uint32_t trip = 1; trip <= request.count; ++trip) {
          await(memory_->asked, trip);
          memory_->answered.store(trip, std::memory_order_release);
        }
        return;
      case Kind::memoryStream:
        for (uint32_t piece = 0; piece < request.count; ++piece) {
          while (memory_->asked.load(std::memory_order_acquire) <= piece) __builtin_ia32_pause();
          memcpy(piece_, memory_->slots[piece % kSlots], kPieceBytes);
          memory_->answered.store(piece + 1, std::memory_order_release);
        }
        return;
    }
  }

  /** What the driving side does; both counters of the memory are 0 before. */
  void ask(const Request& request, int stream) {
    switch (request.kind) {
      case Kind::socketTrip:
        return trips(stream, stream, request.count);
      case Kind::pipeTrip:
        return trips(there_, back_, request.count);
      case Kind::socketStream:
        return pour(stream, stream, request.count);
      case Kind::pipeStream:
        return pour(there_, back_, request.count);
      case Kind::memoryTrip:
        for (uint32_t trip = 1; trip <= request.count; ++trip) {
          memory_->asked.store(trip, std::memory_order_release);
          await(memory_->answered, trip);
        }
        return;
      case Kind::memoryStream:
        for (uint32_t piece = 0; piece < request.count; ++piece) {
          while (piece - memory_->answered.load(std::memory_order_acquire) >= kSlots) __builtin_ia32_pause();
          memcpy(memory_->slots[piece % kSlots], piece_, kPieceBytes);
          memory_->asked.store(piece + 1, std::memory_order_release);
        }
        return await(memory_->answered, request.count);
    }
  }

  /** Other pages each time, all zero: which ones it gets decides how well they fit the CPU's caches. */
  void renewMemory() {
    must(ftruncate(file_, 0), "ftruncate");
    must(ftruncate(file_, sizeof(Memory)), "ftruncate");
    memset(memory_->slots, 0, sizeof memory_->slots);
    memory_->asked.store(0);
    memory_->answered.store(0);
  }

 private:
  struct sockaddr_un addressOf(const char* name) const {
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    const std::string path = files_ + "/" + name;
    if (path.size() >= sizeof address.sun_path) {
      errno = ENAMETOOLONG;
      fail(path.c_str());
    }
    memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
  }

  void echo(int from, int to, uint32_t count) {
    for (uint32_t trip = 0; trip < count; ++trip) {
      if (!readAll(from, piece_, kMessageBytes)) fail("end of data");
      writeAll(to, piece_, kMessageBytes);
    }
  }

  void trips(int to, int from, uint32_t count) {
    for (uint32_t trip = 0; trip < count; ++trip) {
      memcpy(piece_, &trip, sizeof trip);
      writeAll(to, piece_, kMessageBytes);
      uint32_t came = 0;
      if (!readAll(from, piece_, kMessageBytes)) fail("end of data");
      memcpy(&came, piece_, sizeof came);
      if (came != trip) {
        errno = EPROTO;
        fail("another message came back");
      }
    }
  }

  void drain(int from, int to, uint32_t count) {
    for (uint32_t piece = 0; piece < count; ++piece) {
      if (!readAll(from, piece_, kPieceBytes)) fail("end of data");
    }
    writeAll(to, piece_, 1);
  }

  void pour(int to, int from, uint32_t count) {
    for (uint32_t piece = 0; piece < count; ++piece) writeAll(to, piece_, kPieceBytes);
    if (!readAll(from, piece_, 1)) fail("end of data");
  }

  std::string files_;
  int file_;
  Memory* memory_;
  int there_ = -1;
  int back_ = -1;
  char piece_[kPieceBytes] = {};
};

int serve(Side* side) {
  side->makePipes();
  side->openPipes();
  const int listener = side->listenAt("data");
  for (;;) {
    const int stream = must(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accept");
    Request request;
    char ready = 0;
    while (readAll(stream, reinterpret_cast<char*>(&request), sizeof request)) {
      writeAll(stream, &ready, 1);
      side->answer(request, stream);
    }
    close(stream);
  }
}

uint64_t nowNs() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

/** Nanoseconds of one request, from the moment both sides are ready. */
uint64_t timed(Side* side, const Request& request, int stream) {
  side->renewMemory();
  writeAll(stream, reinterpret_cast<const char*>(&request), sizeof request);
  char ready;
  if (!readAll(stream, &ready, 1)) fail("end of data");
  const uint64_t began = nowNs();
  side->ask(request, stream);
  return nowNs() - began;
}

bool parse(const char* line, Request* request) {
  char word[32];
  if (sscanf(line, "%31s %u", word, &request->count) != 2 || request->count == 0) return false;
  for (size_t index = 0; index < sizeof kKinds / sizeof kKinds[0]; ++index) {
    if (strcmp(word, kKinds[index]) != 0) continue;
    request->kind = static_cast<Kind>(index);
    return true;
  }
  return false;
}

int drive(Side* side) {
  side->openPipes();
  const int stream = side->connectTo("data");
  const int listener = side->listenAt("control");
  for (;;) {
    const int control = must(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accept");
    char line[64];
    for (ssize_t size; (size = read(control, line, sizeof line - 1)) > 0;) {
      line[size] = '\0';
      Request request;
      if (!parse(line, &request)) {
        errno = EINVAL;
        fail(line);
      }
      const int count =
          snprintf(line, sizeof line, "%llu\n", static_cast<unsigned long long>(timed(side, request, stream)));
      writeAll(control, line, static_cast<size_t>(count));
    }
    close(control);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: ipc-bench serve|drive FILES MEMORY CPU\n");
    return 2;
  }
  // Whoever waits by spinning must not outlive whoever measures.
  must(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<unsigned>(atoi(argv[4])), &cpus);
  must(sched_setaffinity(0, sizeof cpus, &cpus), "sched_setaffinity");
  static Side side(argv[2], argv[3]);
  if (strcmp(argv[1], "serve") == 0) return serve(&side);
  if (strcmp(argv[1], "drive") == 0) return drive(&side);
  fprintf(stderr, "ipc-bench: %s is neither serve nor drive\n", argv[1]);
  return 2;
}
