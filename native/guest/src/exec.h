// Commands that the host runs beside the entrypoint.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "frame.h"

// A frame of a command's stream.
void execFrame(const struct frame* frame, const uint8_t* payload);
// A child ended; true when it was a command.
bool execEnded(pid_t pid, int waitStatus);
// Ends every command: whoever ran them is gone.
void endCommands(void);
