#define _GNU_SOURCE
#include "identity.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool asNumber(const char* text, unsigned* number) {
  char* end;
  errno = 0;
  const unsigned long value = strtoul(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value >= 0xffffffffUL) return false;
  *number = (unsigned)value;
  return true;
}

// Splits a line of passwd(5) or group(5) in place; missing fields are empty.
static void splitLine(char* line, char* fields[7]) {
  line[strcspn(line, "\n")] = '\0';
  for (int index = 0; index < 7; index++) {
    fields[index] = line;
    line += strcspn(line, ":");
    if (*line == ':') *line++ = '\0';
  }
}

// Looks for a user by name or number; false when the file does not know it.
static bool findUser(const char* name, struct identity* identity, char login[256]) {
  FILE* file = fopen("/etc/passwd", "re");
  if (file == NULL) return false;
  unsigned wanted = 0;
  const bool numeric = asNumber(name, &wanted);
  bool found = false;
  for (char line[4096]; !found && fgets(line, sizeof line, file) != NULL;) {
    char* fields[7];
    splitLine(line, fields);
    unsigned uid, gid;
    if (!asNumber(fields[2], &uid) || !asNumber(fields[3], &gid)) continue;
    if (numeric ? uid != wanted : strcmp(fields[0], name) != 0) continue;
    identity->uid = uid;
    identity->gid = gid;
    snprintf(login, 256, "%s", fields[0]);
    snprintf(identity->home, sizeof identity->home, "%s", fields[5][0] == '/' ? fields[5] : "/");
    found = true;
  }
  fclose(file);
  return found;
}

static bool isMember(const char* members, const char* login) {
  const size_t length = strlen(login);
  for (const char* at = members; *at != '\0'; at += *at == ',') {
    const size_t size = strcspn(at, ",");
    if (size == length && strncmp(at, login, length) == 0) return true;
    at += size;
  }
  return false;
}

// Groups of /etc/group: the one called `name` (may be NULL) and those `login` (may be empty) belongs to.
static bool findGroups(const char* name, const char* login, struct identity* identity) {
  FILE* file = fopen("/etc/group", "re");
  bool found = name == NULL;
  for (char line[16384]; file != NULL && fgets(line, sizeof line, file) != NULL;) {
    char* fields[7];
    splitLine(line, fields);
    unsigned gid;
    if (!asNumber(fields[2], &gid)) continue;
    if (name != NULL && strcmp(fields[0], name) == 0) {
      identity->gid = gid;
      found = true;
    }
    if (name == NULL && login[0] != '\0' && isMember(fields[3], login) && identity->groupCount < kGroupsMax) {
      identity->groups[identity->groupCount++] = gid;
    }
  }
  if (file != NULL) fclose(file);
  return found;
}

bool findIdentity(const char* user, struct identity* identity) {
  memset(identity, 0, sizeof *identity);
  strcpy(identity->home, "/");
  char name[256];
  snprintf(name, sizeof name, "%s", user);
  char* group = strchr(name, ':');
  if (group != NULL) *group++ = '\0';
  char login[256] = "";
  unsigned number;
  if (!findUser(name[0] == '\0' ? "0" : name, identity, login)) {
    if (name[0] != '\0' && !asNumber(name, &number)) return false;
    identity->uid = name[0] == '\0' ? 0 : number;
  }
  // A group that is named replaces those the user belongs to, as in every container runtime.
  if (group == NULL || group[0] == '\0') return findGroups(NULL, login, identity);
  if (!asNumber(group, &number)) return findGroups(group, login, identity);
  identity->gid = number;
  return true;
}

bool becomeIdentity(const struct identity* identity) {
  return setgroups(identity->groupCount, identity->groups) == 0 &&
         setresgid(identity->gid, identity->gid, identity->gid) == 0 &&
         setresuid(identity->uid, identity->uid, identity->uid) == 0;
}
