// The channel to the host's agent: one byte stream that carries frames. The agent may go away and come back.
#pragma once

#include <stdint.h>

#include "frame.h"

// Begins to listen: at the vsock port, or at the virtio port `agent` in a machine without vsock.
void openChannel(void);

// Sends a frame; it is lost when nobody listens.
void sendFrame(enum frame_type type, uint16_t stream, const void* payload, size_t size);

// Called with each frame of the agent's but its greeting; entrypoint.c has signals, exec.c the rest.
void onFrame(const struct frame* frame, const uint8_t* payload);
// Called when the agent is gone or another begins anew.
void onDisconnect(void);
