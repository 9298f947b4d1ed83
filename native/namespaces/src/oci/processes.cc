// ps, list, pause, resume.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "oci/command.h"
#include "oci/document.h"
#include "oci/instance.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::oci {
namespace {

constexpr int kFreezeSeconds = 10;

bool onlyFormats(Session* session, const std::string& format) {
  if (format == "json" || format == "table") return true;
  return session->fail("--format is table or json");
}

/** ps(1) of the host, narrowed to the container's processes. */
bool printTable(Session* session, const Arguments& arguments, const std::vector<pid_t>& pids) {
  std::vector<std::string> words = {"ps"};
  for (size_t index = 1; index < arguments.operands().size(); ++index) words.push_back(arguments.operands()[index]);
  if (words.size() == 1) words.emplace_back("-ef");
  std::string list;
  for (const pid_t pid : pids) list += (list.empty() ? "" : ",") + std::to_string(pid);
  sys::Pair pipe;
  Result<sys::Pair> made = sys::pipePair();
  if (!made.ok()) return session->fail("ps", made.error());
  pipe = made.take();
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe.right.get(), STDOUT_FILENO);
  pid_t child = 0;
  const int err = posix_spawnp(&child, "ps", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  pipe.right.reset();
  if (err != 0) return session->fail("ps", failure("posix_spawnp", err));
  std::string output;
  char part[8192];
  for (;;) {
    Result<size_t> size = sys::readSome(pipe.left.get(), part, sizeof part);
    if (!size.ok() || size.value() == 0) break;
    output.append(part, size.value());
  }
  int status = 0;
  sys::retry([&] { return waitpid(child, &status, 0); });
  if (status != 0) return session->fail("ps failed");
  // The column named PID decides which lines stay.
  int column = -1;
  for (char* line = output.data(); line != nullptr && *line != '\0';) {
    char* end = strchr(line, '\n');
    if (end != nullptr) *end = '\0';
    std::string copy = line;
    char* save = nullptr;
    int at = 0;
    bool keep = false;
    for (char* word = strtok_r(copy.data(), " ", &save); word != nullptr; word = strtok_r(nullptr, " ", &save), ++at) {
      if (column < 0 && strcmp(word, "PID") == 0) {
        column = at;
        keep = true;
        break;
      }
      if (at == column) keep = std::find(pids.begin(), pids.end(), atoi(word)) != pids.end();
    }
    if (keep) puts(line);
    line = end == nullptr ? nullptr : end + 1;
  }
  return column >= 0 ? true : session->fail("ps shows no column PID");
}

bool freeze(Session* session, Instance* instance, bool wanted) {
  const cgroup::Paths paths = instance->cgroups();
  Status asked = cgroup::requestFreeze(paths, wanted);
  if (!asked.ok()) return session->fail("cannot freeze", asked.error());
  Result<Fd> events = cgroup::openEvents(paths);
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  for (const time_t deadline = now.tv_sec + kFreezeSeconds; now.tv_sec <= deadline;
       clock_gettime(CLOCK_MONOTONIC, &now)) {
    Result<bool> frozen = cgroup::frozen(paths);
    if (!frozen.ok()) return session->fail("cannot freeze", frozen.error());
    if (frozen.value() == wanted) return true;
    // The unified hierarchy tells of the change; v1 must be asked again.
    struct pollfd slot = {events.ok() ? events.value().get() : -1, POLLPRI, 0};
    poll(&slot, 1, events.ok() ? 1000 : 5);
  }
  (void)cgroup::requestFreeze(paths, false).ok();
  return session->fail("the container's processes did not stop within 10 s");
}

int change(Session* session, const Arguments& arguments, Phase from, bool frozen) {
  Instance instance(session);
  if (!instance.open(arguments.operands()[0]) || !instance.lock()) return kFailed;
  const Phase phase = instance.phase();
  if (phase != from) {
    return exitStatus(session->fail(std::string("container is not ") + phaseName(from) + ": " + phaseName(phase)));
  }
  return exitStatus(freeze(session, &instance, frozen));
}

}  // namespace

int runPause(Session* session, const Arguments& arguments) {
  return change(session, arguments, Phase::running, true);
}

int runResume(Session* session, const Arguments& arguments) {
  return change(session, arguments, Phase::paused, false);
}

int runPs(Session* session, const Arguments& arguments) {
  Instance instance(session);
  const std::string format = arguments.value("format", "table");
  if (!onlyFormats(session, format) || !instance.open(arguments.operands()[0])) return kFailed;
  Result<std::vector<pid_t>> pids = cgroup::processes(instance.cgroups());
  if (!pids.ok()) return exitStatus(session->fail("cannot list processes", pids.error()));
  std::sort(pids.value().begin(), pids.value().end());
  if (format == "table") return exitStatus(printTable(session, arguments, pids.value()));
  rapidjson::Document list(rapidjson::kArrayType);
  for (const pid_t pid : pids.value()) list.PushBack(pid, list.GetAllocator());
  puts(toText(list, false).c_str());
  return 0;
}

int runList(Session* session, const Arguments& arguments) {
  const std::string format = arguments.value("format", "table");
  const bool quiet = arguments.flag("quiet");
  if (!onlyFormats(session, format)) return kFailed;
  std::vector<std::string> ids;
  if (DIR* listing = opendir(session->root.c_str())) {
    while (const struct dirent* entry = readdir(listing)) {
      if (validId(entry->d_name) && entry->d_type == DT_DIR) ids.emplace_back(entry->d_name);
    }
    closedir(listing);
  }
  std::sort(ids.begin(), ids.end());
  rapidjson::Document all(rapidjson::kArrayType);
  if (!quiet && format == "table") printf("%-30s %-10s %-10s %-32s %s\n", "ID", "PID", "STATUS", "CREATED", "BUNDLE");
  for (const std::string& id : ids) {
    // One that was deleted meanwhile is not in the list.
    Session other;
    other.root = session->root;
    Instance instance(&other);
    if (!instance.open(id)) continue;
    if (quiet) {
      puts(id.c_str());
      continue;
    }
    const rapidjson::Document state = instance.state(instance.phase());
    if (format == "table") {
      printf("%-30s %-10d %-10s %-32s %s\n", id.c_str(), state["pid"].GetInt(), state["status"].GetString(),
             textMember(state, "created").c_str(), textMember(state, "bundle").c_str());
      continue;
    }
    rapidjson::Value copy;
    copy.CopyFrom(state, all.GetAllocator());
    all.PushBack(copy, all.GetAllocator());
  }
  if (!quiet && format == "json") puts(toText(all, false).c_str());
  return 0;
}

}  // namespace bulkhead::oci
