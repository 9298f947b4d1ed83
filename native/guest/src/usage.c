#include "usage.h"

#include <stdio.h>
#include <string.h>

static size_t copyLines(const char* path, const char* const* names, char* text, size_t size) {
  FILE* file = fopen(path, "re");
  size_t used = 0;
  for (char line[512]; file != NULL && fgets(line, sizeof line, file) != NULL;) {
    for (const char* const* name = names; *name != NULL; name++) {
      const size_t length = strlen(*name);
      if (strncmp(line, *name, length) != 0) continue;
      const int wrote = snprintf(text + used, size - used, "%s", line);
      if (wrote > 0 && (size_t)wrote < size - used) used += (size_t)wrote;
    }
  }
  if (file != NULL) fclose(file);
  return used;
}

size_t readGuestUsage(char* text, size_t size) {
  static const char* const memory[] = {"MemTotal:", "MemAvailable:", "Cached:", NULL};
  static const char* const cpu[] = {"cpu ", NULL};
  static const char* const pressure[] = {"some ", "full ", NULL};
  size_t used = copyLines("/proc/meminfo", memory, text, size);
  used += copyLines("/proc/stat", cpu, text + used, size - used);
  used += copyLines("/proc/pressure/memory", pressure, text + used, size - used);
  return used;
}
