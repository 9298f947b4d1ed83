// Shares that the host takes away while the machine runs: they are unmounted by processes of their own, which may wait
// for a server where PID 1 must not.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "frame.h"

// True for the frame that asks for it.
bool unmountingFrame(const struct frame* frame, const uint8_t* payload);
// A child ended; true when it was one of these.
bool unmountingEnded(pid_t pid, int waitStatus);
