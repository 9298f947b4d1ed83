#include "socket_list.h"

#include <stdio.h>
#include <string.h>

static bool readSocket(const char* word, struct shared_socket* socket) {
  unsigned mode;
  unsigned uid;
  unsigned gid;
  int at = 0;
  if (sscanf(word, "%4o:%5u:%5u:%n", &mode, &uid, &gid, &at) != 3 || at == 0) return false;
  const char* name = word + at;
  const size_t length = strlen(name);
  if (length == 0 || length > kSocketNameMax || strchr(name, '/') != NULL) return false;
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return false;
  *socket = (struct shared_socket){.name = name, .mode = mode & 07777, .uid = uid, .gid = gid};
  return true;
}

bool readSocketList(const char* text, size_t size, struct socket_list* list) {
  list->count = 0;
  for (size_t at = 0; at < size;) {
    const size_t length = strnlen(text + at, size - at);
    if (length == size - at || list->count == kSocketsMax) return false;
    if (!readSocket(text + at, &list->sockets[list->count])) return false;
    list->count++;
    at += length + 1;
  }
  return true;
}
