// Who a process runs as: the words of an image or a spec, looked up in the files of the root file system.
#pragma once

#include <stdbool.h>
#include <sys/types.h>

enum { kGroupsMax = 256 };

struct identity {
  uid_t uid;
  gid_t gid;
  gid_t groups[kGroupsMax];
  size_t groupCount;
  char home[256];
};

// `user`, `uid`, `user:group` or `uid:gid`; empty is root. False when a name is not in /etc/passwd or /etc/group.
bool findIdentity(const char* user, struct identity* identity);

// Gives up every other identity; false and errno when it cannot.
bool becomeIdentity(const struct identity* identity);
