// Connections of the instance's programs to sockets of the host's kernel: each a stream of the channel.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"

// The host carries connections, from here on until it is gone.
void beginConnections(void);
// Whether there is room for one more to a socket of this directory.
bool mayConnect(uint8_t directory);
// Carries what a program says at `file`, which it takes over, to the host's socket of that name, and back.
void openConnection(int file, uint8_t directory, const char* name);

// True for a frame of a connection's stream.
bool connectionFrame(const struct frame* frame, const uint8_t* payload);
// Ends them all: whoever carried them is gone.
void endConnections(void);
