// Directories of Unix sockets that the instance has in common with containers of its host. A container's listener is a
// socket of another kernel: for each there is one of the same name here, whose connections the host carries on.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Makes the next one, of `mode:uid:gid:ro or rw:path`, without a socket in it. Ends the machine when it cannot.
void openSocketDirectory(const char* wanted);

// What kFrameSockets carries: what is in a directory from here on, and that the host carries connections.
void listSockets(const uint8_t* payload, size_t size);

// Whether sockets take connections is to be looked at again: one has ended, or the host is gone.
void heedConnections(void);

// The directory itself; it must be there.
int socketDirectoryAt(uint8_t directory);
// Whether a file of this number in it is a socket of the host's.
bool isCarried(uint8_t directory, ino_t number);
// Connects to a socket of a program's; -1 when there is none of that name, or nobody takes the connection now.
int connectIn(uint8_t directory, const char* name);
