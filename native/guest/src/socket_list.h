// The sockets of one directory as the host tells of them: NUL-terminated `mode:uid:gid:name`.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

// Of one directory, and bytes of a name: with its end it fits sun_path (unix(7)).
enum { kSocketsMax = 64, kSocketNameMax = 100 };

struct shared_socket {
  const char* name;  // into what it was read from
  mode_t mode;
  uid_t uid;
  gid_t gid;
};

struct socket_list {
  struct shared_socket sockets[kSocketsMax];
  size_t count;
};

// Reads `size` bytes; false when they are no list, or name what is no file of a directory.
bool readSocketList(const char* text, size_t size, struct socket_list* list);
