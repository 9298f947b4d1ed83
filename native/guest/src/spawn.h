// Starts a program in the instance: the entrypoint and commands beside it.
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "settings.h"

// Where every process of the instance is, below the root of the machine's one hierarchy.
#define kInstanceCgroupName "/instance"
#define kInstanceCgroup "/sys/fs/cgroup" kInstanceCgroupName

// Why a program did not start; `step` is empty when it did.
struct spawn_failure {
  char step[32];
  int error;
};

// Where the program's descriptors 0, 1 and 2 come from; with `terminal` they are a terminal it controls.
struct stdio {
  int input;
  int output;
  int error;
  bool terminal;
};

// Limits how many processes the instance has. Called once, before the first program.
void openCgroup(const char* pidsMax);
// Ends every process of the instance.
void killInstance(void);

// Answers the process when it runs the program; -1 with `failure` when it does not.
pid_t spawnProgram(struct process* process, const struct stdio* stdio, struct spawn_failure* failure);
