// Carries what the entrypoint writes to the host, which keeps it in the instance's log.
#pragma once

#include "loop.h"

// A pipe whose end answers is for the entrypoint; what comes through goes to the channel `name` or `console`.
int openOutput(int which, const char* name, int console);
// Closes this side's copies of the entrypoint's ends.
void outputsGiven(void);
// Carries until both are at their end, or nothing more comes for a moment: a process that was left behind may hold
// them.
void drainOutputs(void);
