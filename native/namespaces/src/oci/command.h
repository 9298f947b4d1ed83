// Every command: what it is called, what it takes, what it does.
#pragma once

#include <cstddef>

#include "oci/arguments.h"
#include "oci/session.h"

namespace bulkhead::oci {

struct Command {
  const char* name;
  /** Operands as help shows them. */
  const char* operands;
  const char* help;
  const Option* options;
  size_t optionCount;
  size_t minimumOperands;
  size_t maximumOperands;  // 0: any number
  /** The exit status; a failure is in the session. */
  int (*run)(Session* session, const Arguments& arguments);
};

extern const Command kCommands[];
extern const size_t kCommandCount;
extern const Option kGlobalOptions[];
extern const size_t kGlobalOptionCount;

int runCreate(Session* session, const Arguments& arguments);
int runRun(Session* session, const Arguments& arguments);
int runStart(Session* session, const Arguments& arguments);
int runState(Session* session, const Arguments& arguments);
int runKill(Session* session, const Arguments& arguments);
int runDelete(Session* session, const Arguments& arguments);
int runExecCommand(Session* session, const Arguments& arguments);
int runPs(Session* session, const Arguments& arguments);
int runList(Session* session, const Arguments& arguments);
int runUpdate(Session* session, const Arguments& arguments);
int runPause(Session* session, const Arguments& arguments);
int runResume(Session* session, const Arguments& arguments);
int runEvents(Session* session, const Arguments& arguments);
int runSpec(Session* session, const Arguments& arguments);
int runFeatures(Session* session, const Arguments& arguments);

/** All help, or that of one command. */
void printHelp(const Command* command);

/** 0 or kFailed. */
inline int exitStatus(bool done) {
  return done ? 0 : kFailed;
}

}  // namespace bulkhead::oci
