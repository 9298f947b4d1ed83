#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "freezer.h"
#include "loop.h"
#include "settings.h"
#include "spawn.h"

enum { kCommandsMax = 64, kChunk = 16384 };

// Input that its command has not read yet.
struct input {
  struct source source;
  uint8_t* bytes;
  size_t used;
  bool ended;
};

struct output {
  struct source source;
  struct command* command;
  enum frame_type type;
};

struct command {
  struct input input;
  struct output outputs[2];
  pid_t pid;
  int terminal;    // the host's side of it; -1 without one
  int waitStatus;  // valid when pid is 0
  uint16_t stream;
  size_t window;  // bytes that the host still takes
  bool used;
};

static struct command commands[kCommandsMax];

static struct command* find(uint16_t stream) {
  for (int index = 0; index < kCommandsMax; index++) {
    if (commands[index].used && commands[index].stream == stream) return &commands[index];
  }
  return NULL;
}

static void closeSource(struct source* source) {
  if (source->file < 0) return;
  forget(source);
  close(source->file);
  source->file = -1;
}

static void closeInput(struct command* command) {
  // The terminal's one descriptor is its output's too.
  if (command->terminal < 0) closeSource(&command->input.source);
  free(command->input.bytes);
  command->input.bytes = NULL;
  command->input.used = 0;
}

// Says how it ended when it has, and all it wrote is on its way.
static void settle(struct command* command) {
  if (!command->used || command->pid != 0) return;
  if (command->outputs[0].source.file >= 0 || command->outputs[1].source.file >= 0) return;
  closeInput(command);
  const int status = command->waitStatus;
  const int32_t ended[2] = {WIFSIGNALED(status) ? -1 : WEXITSTATUS(status), WIFSIGNALED(status) ? WTERMSIG(status) : 0};
  sendFrame(kFrameEnded, command->stream, ended, sizeof ended);
  command->used = false;
}

static void listenTo(struct command* command) {
  for (int index = 0; index < 2; index++) {
    struct source* source = &command->outputs[index].source;
    if (source->file < 0) continue;
    const bool input = command->terminal >= 0 && command->input.used > 0;
    await(source, (command->window > 0 ? EPOLLIN : 0) | (input ? EPOLLOUT : 0));
  }
}

static void sayTaken(const struct command* command, size_t size) {
  const uint32_t taken = (uint32_t)size;
  sendFrame(kFrameTaken, command->stream, &taken, sizeof taken);
}

// Gives the command what it takes.
static void feed(struct command* command) {
  struct input* input = &command->input;
  const int file = command->terminal >= 0 ? command->terminal : input->source.file;
  while (input->used > 0 && file >= 0) {
    const ssize_t wrote = write(file, input->bytes, input->used);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0 && errno == EAGAIN) break;
    // A command that does not read any more takes everything and heeds nothing.
    const size_t taken = wrote < 0 ? input->used : (size_t)wrote;
    input->used -= taken;
    memmove(input->bytes, input->bytes + taken, input->used);
    sayTaken(command, taken);
  }
  if (command->terminal >= 0) return listenTo(command);
  if (input->source.file < 0) return;
  if (input->used == 0 && input->ended) return closeInput(command);
  await(&input->source, input->used > 0 ? EPOLLOUT : 0);
}

static void outputReady(struct source* source, uint32_t events) {
  struct output* output = (struct output*)((char*)source - offsetof(struct output, source));
  struct command* command = output->command;
  if ((events & EPOLLOUT) != 0) feed(command);
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0 || command->window == 0) {
    // Hung up with nothing left to say it: the loop would be told again and again.
    if (command->window == 0 && (events & EPOLLHUP) != 0) forget(source);
    return;
  }
  uint8_t chunk[kChunk];
  const ssize_t got = read(source->file, chunk, command->window < kChunk ? command->window : kChunk);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    // A terminal whose last program is gone reads as EIO.
    closeSource(source);
    if (command->terminal >= 0) command->terminal = -1;
    return settle(command);
  }
  command->window -= (size_t)got;
  sendFrame(output->type, command->stream, chunk, (size_t)got);
  listenTo(command);
}

static void inputReady(struct source* source, uint32_t events) {
  struct command* command = (struct command*)((char*)source - offsetof(struct command, input.source));
  if ((events & EPOLLERR) != 0 && command->input.used == 0) return closeInput(command);
  feed(command);
}

static void refuse(uint16_t stream, const char* step, int error) {
  struct {
    int32_t error;
    char step[32];
  } failure = {.error = error};
  snprintf(failure.step, sizeof failure.step, "%s", step);
  sendFrame(kFrameFailed, stream, &failure, sizeof failure.error + strlen(failure.step));
}

static void setSize(int terminal, uint16_t rows, uint16_t columns) {
  const struct winsize size = {.ws_row = rows, .ws_col = columns};
  if (rows > 0 && columns > 0) ioctl(terminal, TIOCSWINSZ, &size);
}

// Opens a terminal; its program's side in `other`.
static int openTerminal(int* other) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (terminal < 0 || unlockpt(terminal) < 0) return -1;
  *other = ioctl(terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  return *other < 0 ? -1 : terminal;
}

static void beNonBlocking(int file) {
  fcntl(file, F_SETFL, fcntl(file, F_GETFL) | O_NONBLOCK);
}

static struct command* freeCommand(uint16_t stream) {
  if (find(stream) != NULL) return NULL;
  for (int index = 0; index < kCommandsMax; index++) {
    if (!commands[index].used) return &commands[index];
  }
  return NULL;
}

static void begin(uint16_t stream, const uint8_t* payload, size_t size) {
  static struct process process;
  struct command* command = freeCommand(stream);
  if (command == NULL) return refuse(stream, "too many commands", EAGAIN);
  if (isFrozen()) return refuse(stream, "the machine stands still to be copied", EAGAIN);
  uint16_t window[2];
  if (size < 6 || !readProcess((const char*)payload + 6, size - 6, &process)) return refuse(stream, "request", EINVAL);
  memcpy(window, payload + 2, sizeof window);
  const bool terminal = payload[0] == 1;
  int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
  int ours = -1, theirs = -1;
  bool ready = terminal ? (ours = openTerminal(&theirs)) >= 0
                        : pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0;
  struct spawn_failure failure = {.step = "stdio", .error = errno};
  pid_t pid = -1;
  if (ready) {
    if (terminal) setSize(ours, window[0], window[1]);
    const struct stdio stdio = {.input = terminal ? theirs : in[0],
                                .output = terminal ? theirs : out[1],
                                .error = terminal ? theirs : err[1],
                                .terminal = terminal};
    pid = spawnProgram(&process, &stdio, &failure);
  }
  const int done[] = {theirs, in[0], out[1], err[1]};
  for (size_t index = 0; index < 4; index++) {
    if (done[index] >= 0) close(done[index]);
  }
  if (pid < 0) {
    const int undone[] = {ours, in[1], out[0], err[0]};
    for (size_t index = 0; index < 4; index++) {
      if (undone[index] >= 0) close(undone[index]);
    }
    return refuse(stream, failure.step, failure.error);
  }
  *command = (struct command){.pid = pid, .terminal = ours, .stream = stream, .window = kWindow, .used = true};
  command->input.source = (struct source){.ready = inputReady, .file = in[1]};
  const int outputs[2] = {terminal ? ours : out[0], err[0]};
  for (int index = 0; index < 2; index++) {
    command->outputs[index] = (struct output){.source = {.ready = outputReady, .file = outputs[index]},
                                              .command = command,
                                              .type = index == 0 ? kFrameOutput : kFrameError};
    if (outputs[index] >= 0) beNonBlocking(outputs[index]);
  }
  if (in[1] >= 0) beNonBlocking(in[1]);
  sendFrame(kFrameStarted, stream, NULL, 0);
  listenTo(command);
  if (in[1] >= 0) await(&command->input.source, 0);
}

static void takeInput(struct command* command, const uint8_t* payload, size_t size) {
  struct input* input = &command->input;
  if (size == 0) {
    input->ended = true;
    // Ctrl-D, which is what the end of input is at a terminal.
    if (command->terminal >= 0 && write(command->terminal, "\4", 1) < 0) return;
    return feed(command);
  }
  const bool closed = command->terminal < 0 && input->source.file < 0;
  if (closed || input->ended || input->used + size > kWindow) return sayTaken(command, size);
  if (input->bytes == NULL) input->bytes = malloc(kWindow);
  if (input->bytes == NULL) return sayTaken(command, size);
  memcpy(input->bytes + input->used, payload, size);
  input->used += size;
  feed(command);
}

static void endCommand(struct command* command, int signal) {
  if (command->pid > 0) kill(-command->pid, signal);
}

void execFrame(const struct frame* frame, const uint8_t* payload) {
  if (frame->type == kFrameExec) return begin(frame->stream, payload, frame->size);
  struct command* command = find(frame->stream);
  if (command == NULL) return;
  uint16_t size[2];
  uint32_t number;
  switch (frame->type) {
    case kFrameInput:
      return takeInput(command, payload, frame->size);
    case kFrameTaken:
      if (frame->size != sizeof number) return;
      memcpy(&number, payload, sizeof number);
      command->window = number > kWindow - command->window ? kWindow : command->window + number;
      return listenTo(command);
    case kFrameResize:
      if (frame->size != sizeof size || command->terminal < 0) return;
      memcpy(size, payload, sizeof size);
      return setSize(command->terminal, size[0], size[1]);
    case kFrameKill:
      if (frame->size != sizeof number) return;
      memcpy(&number, payload, sizeof number);
      return endCommand(command, (int)number);
    case kFrameClose:
      return endCommand(command, SIGKILL);
    default:
      return;
  }
}

bool execEnded(pid_t pid, int waitStatus) {
  for (int index = 0; index < kCommandsMax; index++) {
    struct command* command = &commands[index];
    if (!command->used || command->pid != pid) continue;
    command->pid = 0;
    command->waitStatus = waitStatus;
    settle(command);
    return true;
  }
  return false;
}

void endCommands(void) {
  for (int index = 0; index < kCommandsMax; index++) {
    struct command* command = &commands[index];
    if (!command->used) continue;
    endCommand(command, SIGKILL);
    for (int each = 0; each < 2; each++) closeSource(&command->outputs[each].source);
    command->terminal = -1;
    closeInput(command);
    command->used = false;
  }
}
