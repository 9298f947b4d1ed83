// A machine that goes on from a snapshot is another one than it was: it gets a name, an address and randomness of its
// own while none of its processes runs.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "frame.h"
#include "settings.h"

// Keeps what the machine is told of itself, and opens the kernel's pool of randomness. Called once, before the root.
void openCopy(const struct settings* settings);

// True for a frame that was one of freezing, thawing and becoming.
bool copyFrame(const struct frame* frame, const uint8_t* payload);
