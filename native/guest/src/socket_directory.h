// Directories of Unix sockets that the instance has in common with containers of its host. A container's listener is a
// socket of another kernel: for each there is one of the same name here, whose connections the host carries on.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Makes the next one, of `mode:uid:gid:path`, without a socket in it. Ends the machine when it cannot.
void openSocketDirectory(const char* wanted);

// What kFrameSockets carries: what is in a directory from here on, and that the host carries connections.
void listSockets(const uint8_t* payload, size_t size);

// Whether sockets take connections is to be looked at again: one has ended, or the host is gone.
void heedConnections(void);
