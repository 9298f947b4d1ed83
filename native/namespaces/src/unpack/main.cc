// bulkhead-unpack: applies one layer to a directory, or empties a directory, with nothing else in reach.
//
//   bulkhead-unpack --root-fd N [--max-bytes N] [--max-entries N] [--sync] < layer.tar
//   bulkhead-unpack --root-fd N --remove
#include <fcntl.h>
#include <linux/capability.h>

#include <charconv>
#include <clocale>
#include <cstring>
#include <optional>
#include <string_view>

#include "jail.h"
#include "layer.h"
#include "report.h"
#include "supervisor.h"

namespace bulkhead::unpack {
namespace {

// libarchive refuses headers above 1 MiB; directory names take at most 64 MiB (layer.cc). The rest is room.
constexpr std::uint64_t kMemoryBytes = 256ULL << 20;

struct Options {
  int root_fd = -1;
  Limits limits;
  bool remove = false;
  bool sync = false;
};

bool number(std::string_view text, std::uint64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

std::optional<Options> parse(int count, char** arguments) {
  Options options;
  for (int at = 1; at < count; ++at) {
    const std::string_view name = arguments[at];
    if (name == "--remove") {
      options.remove = true;
      continue;
    }
    if (name == "--sync") {
      options.sync = true;
      continue;
    }
    std::uint64_t value = 0;
    if (at + 1 >= count || !number(arguments[++at], value)) return std::nullopt;
    if (name == "--root-fd" && value >= 3 && value < 1024) {
      options.root_fd = static_cast<int>(value);
    } else if (name == "--max-bytes") {
      options.limits.max_bytes = value;
    } else if (name == "--max-entries") {
      options.limits.max_entries = value;
    } else {
      return std::nullopt;
    }
  }
  if (options.root_fd < 0) return std::nullopt;
  return options;
}

class StandardInput final : public Source {
 public:
  ssize_t read(void* data, std::size_t size) override {
    for (;;) {
      const ssize_t got = ::read(STDIN_FILENO, data, size);
      if (got >= 0 || errno != EINTR) return got;
    }
  }
};

Status work(const Options& options, Fd root, OpaqueMarker& marker, Totals& totals) {
  if (Status kept = keep_capabilities({CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_SETFCAP}); !kept.ok()) {
    return kept;
  }
#ifndef BULKHEAD_SANITIZED  // shadow memory is far beyond any cap
  if (Status limited = limit_memory(kMemoryBytes); !limited.ok()) return limited;
#endif
  if (options.remove) return empty_directory(root);
  Tree tree(std::move(root), marker, options.limits.max_entries);
  Layer layer(tree, options.limits);
  StandardInput input;
  if (Status applied = layer.apply(input); !applied.ok()) return applied;
  if (options.sync && ::syncfs(tree.root().get()) != 0) return host_failure("syncfs");
  totals = layer.totals();
  return {};
}

int finish(Status status, const Totals& totals) {
  print(status.ok() ? success_line(totals) : failure_line(status.failure()));
  return status.ok() ? 0 : exit_code(status.failure());
}

int run(int count, char** arguments) {
  const std::optional<Options> options = parse(count, arguments);
  if (!options) {
    print(failure_line({Fault::kHost, "usage", {}, "see the head of main.cc", 0}));
    return 2;
  }
  // Names in pax headers are UTF-8; in the C locale libarchive could not pass them through.
  if (std::setlocale(LC_CTYPE, "C.UTF-8") == nullptr) return finish(host_failure("setlocale", ENOENT), {});
  Result<Fd> root = enter_jail(Fd(options->root_fd));
  if (!root.ok()) return finish(std::move(root.failure()), {});
  return run_supervised([&](OpaqueMarker& marker) {
    Totals totals;
    Status done = work(*options, std::move(root.value()), marker, totals);
    return finish(std::move(done), totals);
  });
}

}  // namespace
}  // namespace bulkhead::unpack

int main(int count, char** arguments) {
  return bulkhead::unpack::run(count, arguments);
}
