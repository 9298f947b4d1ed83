// oci-sweep create|start|exec|delete fail|kill [--all | --cases N | --call N] [--seed S]: bulkhead-oci with one of its
// system calls failing once, or with one of its processes killed at it. Afterwards `delete --force` must leave nothing,
// and the same id must be usable again.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "cgroup/host.h"
#include "fault_cases.h"
#include "leftovers.h"
#include "tracer.h"

namespace bulkhead::test {
namespace {

constexpr unsigned kSecondsPerCase = 30;
constexpr size_t kMaxViolations = 10;
constexpr const char* kId = "one";

char description[160];

/** A case that never ends is a finding too; the tracer's end kills what it traces. */
void onAlarm(int) {
  const char text[] = "no end within 30 s: ";
  (void)write(STDERR_FILENO, text, sizeof text - 1);
  (void)write(STDERR_FILENO, description, strlen(description));
  _exit(3);
}

std::set<std::string> mountsNow() {
  std::set<std::string> lines;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) lines.insert(line);
  return lines;
}

struct OciSweepOptions : FaultChoice {
  std::string verb;
};

class Sweep {
 public:
  Sweep(const OciSweepOptions& options, const Stage& stage, std::string runtime)
      : options_(options),
        stage_(stage),
        runtime_(std::move(runtime)),
        root_(stage.runDirectory() + "/state"),
        bundle_(stage.runDirectory() + "/bundle"),
        group_("bulkhead-oci-sweep-" + std::to_string(getppid())),
        tracer_(commandOf()) {}

  int run();

 private:
  std::vector<std::string> commandOf() const;
  /** Starts the runtime untraced. */
  pid_t spawn(const std::vector<std::string>& arguments) const;
  int runtime(const std::vector<std::string>& arguments) const;
  void writeBundle() const;
  /** The state that the verb begins in. */
  void prepare();
  Traced once(const Fault& fault);
  void judge(const Fault& fault, const Traced& traced);
  /** `delete --force` until it succeeds, and then nothing may be there. */
  void cleanUp();
  bool cgroupsExist() const;
  bool stateExists() const { return access((root_ + "/" + kId).c_str(), F_OK) == 0; }
  void violation(const std::string& what);

  const OciSweepOptions& options_;
  const Stage& stage_;
  const std::string runtime_;
  const std::string root_;
  const std::string bundle_;
  const std::string group_;
  Tracer tracer_;
  std::set<std::string> mounts_;
  size_t hits_ = 0;
  size_t violations_ = 0;
};

std::vector<std::string> Sweep::commandOf() const {
  std::vector<std::string> command = {runtime_, "--root", root_, options_.verb};
  if (options_.verb == "create") command.insert(command.end(), {"--bundle", bundle_});
  if (options_.verb == "delete") command.emplace_back("--force");
  if (options_.verb == "exec") command.emplace_back("--detach");
  command.emplace_back(kId);
  if (options_.verb == "exec") command.insert(command.end(), {"/bin/sleep", "1000"});
  return command;
}

pid_t Sweep::spawn(const std::vector<std::string>& arguments) const {
  std::vector<std::string> words = {runtime_, "--root", root_};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int fd = 0; fd < 3; ++fd) posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  pid_t pid = 0;
  const int err = posix_spawn(&pid, runtime_.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (err != 0) exit(2);
  return pid;
}

int Sweep::runtime(const std::vector<std::string>& arguments) const {
  int status = 0;
  const pid_t pid = spawn(arguments);
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void Sweep::violation(const std::string& what) {
  ++violations_;
  fprintf(stderr, "%s: %s (the command ended as %x)\n", description, what.c_str(),
          static_cast<unsigned>(tracer_.status()));
}

void Sweep::writeBundle() const {
  mkdir(bundle_.c_str(), 0755);
  std::ofstream file(bundle_ + "/config.json");
  file << R"({"ociVersion":"1.2.0","process":{"args":["/bin/sleep","1000"],"cwd":"/","env":["PATH=/bin"],)"
       << R"("user":{"uid":0,"gid":0},"noNewPrivileges":true},"root":{"path":")" << stage_.layer() << R"("},)"
       << R"("mounts":[{"destination":"/proc","type":"proc","source":"proc"},)"
       << R"({"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["mode=755"]}],)"
       << R"("linux":{"cgroupsPath":"/)" << group_ << R"(/one","resources":{"pids":{"limit":20},)"
       << R"("memory":{"limit":67108864}},"maskedPaths":["/proc/kcore","/proc/acpi"],"namespaces":[{"type":"mount"},)"
       << R"({"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"network"},{"type":"cgroup"}]}})";
}

void Sweep::prepare() {
  if (options_.verb == "create" || stateExists()) return;
  if (runtime({"create", "--bundle", bundle_, kId}) != 0) violation("the container cannot be made");
  if (options_.verb != "start" && runtime({"start", kId}) != 0) violation("the container cannot be started");
}

bool Sweep::cgroupsExist() const {
  cgroup::HostFeatures host;
  cgroup::findMounts(&host);
  return std::any_of(host.cgroupMounts.begin(), host.cgroupMounts.end(), [&](const auto& mount) {
    return access((mount.second + "/" + group_ + "/one").c_str(), F_OK) == 0;
  });
}

void Sweep::cleanUp() {
  int status = -1;
  // What was cut off may still be busy for a moment, as may be the first attempt of once().
  for (int round = 0; round < 200 && status != 0; ++round) {
    status = runtime({"delete", "--force", kId});
    if (status != 0) poll(nullptr, 0, 5);
  }
  if (status != 0) violation("it cannot be deleted");
  if (!Leftovers::awaitOnly({})) violation("a process is left");
  if (stateExists()) violation("its state is left");
  if (cgroupsExist()) violation("a cgroup is left");
  for (const std::string& mount : mountsNow()) {
    if (!mounts_.contains(mount)) violation("a mount is left: " + mount);
  }
}

Traced Sweep::once(const Fault& fault) {
  prepare();
  // What a create or an exec leaves running is ended by another runtime, while the tracer goes on.
  const bool keeps = options_.verb == "exec" && fault.kind != Fault::Kind::none;
  return tracer_.run(fault, [&] {
    if (keeps && runtime({"exec", kId, "/bin/true"}) != 0) violation("the container takes no process any more");
    // A create that says it failed has undone everything by itself.
    const int status = tracer_.status();
    const bool told = options_.verb == "create" && WIFEXITED(status) && WEXITSTATUS(status) == 1;
    if (told && fault.kind == Fault::Kind::fail && (stateExists() || cgroupsExist())) {
      violation("a failed create left something");
    }
    (void)spawn({"delete", "--force", kId});
  });
}

void Sweep::judge(const Fault& fault, const Traced& traced) {
  const bool failed = !WIFEXITED(tracer_.status()) || WEXITSTATUS(tracer_.status()) != 0;
  // posix_spawn's own two, which the kernel does not let a signal interrupt there; fault-sweep tries ours.
  const bool library = traced.hit == SYS_clone3 || traced.hit == SYS_dup2;
  if (fault.err == EINTR && Leftovers::isInterruptible(traced.hit) && !library && failed) {
    violation("an interrupted call was not repeated");
  }
  cleanUp();
  if (options_.verb != "create") return;
  if (runtime({"create", "--bundle", bundle_, kId}) != 0) violation("the id cannot be used again");
  cleanUp();
}

int Sweep::run() {
  signal(SIGALRM, onAlarm);
  writeBundle();
  mounts_ = mountsNow();
  snprintf(description, sizeof description, "without a fault");
  alarm(kSecondsPerCase);
  const Traced model = once({});
  if (tracer_.status() != 0) violation("a good run failed");
  judge({}, model);
  const std::vector<Fault> cases = chooseFaults(model, options_);
  for (const Fault& fault : cases) {
    // One hole shows at many calls; the first few say where it is.
    if (violations_ >= kMaxViolations) break;
    const long number = model.calls[fault.process][fault.call];
    snprintf(description, sizeof description, "process %u, call %zu (system call %ld): %s %u", fault.process,
             fault.call, number, options_.kill ? "kill" : strerrorname_np(fault.err),
             options_.kill ? fault.victim : static_cast<unsigned>(fault.err));
    alarm(kSecondsPerCase);
    const Traced traced = once(fault);
    if (traced.hit >= 0) ++hits_;
    judge(fault, traced);
  }
  alarm(0);
  printf("{\"verb\":\"%s\",\"kind\":\"%s\",\"seed\":%u,\"cases\":%zu,\"hits\":%zu,\"violations\":%zu}\n",
         options_.verb.c_str(), options_.kill ? "kill" : "fail", options_.seed, cases.size(), hits_, violations_);
  return violations_ == 0 ? 0 : 1;
}

void removeGroups() {
  cgroup::HostFeatures host;
  cgroup::findMounts(&host);
  for (const auto& [controller, mount] : host.cgroupMounts) {
    const std::string parent = mount + "/bulkhead-oci-sweep-" + std::to_string(getpid());
    rmdir((parent + "/one").c_str());
    rmdir(parent.c_str());
  }
}

int sweep(int argc, char** argv) {
  OciSweepOptions options;
  if (argc > 1) options.verb = argv[1];
  const std::string_view verb = options.verb;
  const bool known = verb == "create" || verb == "start" || verb == "exec" || verb == "delete";
  if (!known || !parseChoice(argc - 2, argv + 2, &options)) {
    fprintf(stderr, "usage: oci-sweep create|start|exec|delete fail|kill [--all | --cases N | --call N] [--seed S]\n");
    return 2;
  }
  char self[4096] = {};
  if (readlink("/proc/self/exe", self, sizeof self - 1) <= 0) return 2;
  const std::string path = self;
  Stage stage;
  // Of the machine's mounts only those of our own making are to be seen.
  if (unshare(CLONE_NEWNS) < 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) return 2;
  // This process only cleans up, also after a sweep that was given up.
  const pid_t child = fork();
  if (child < 0) return 2;
  if (child == 0) {
    // Whatever a dead runtime leaves becomes the sweep's own child, and is seen.
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    const int code = Sweep(options, stage, path.substr(0, path.rfind('/') + 1) + "bulkhead-oci").run();
    fflush(stdout);
    _exit(code);
  }
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  int status = 0;
  waitpid(child, &status, 0);
  const bool clean = Leftovers::awaitOnly({});
  removeGroups();
  return WIFEXITED(status) && clean ? WEXITSTATUS(status) : 4;
}

}  // namespace
}  // namespace bulkhead::test

int main(int argc, char** argv) {
  return bulkhead::test::sweep(argc, argv);
}
