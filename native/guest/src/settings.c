#include "settings.h"

#include <string.h>

// The value when `word` starts with `key=`, else NULL.
static const char* valueOf(const char* word, const char* key) {
  const size_t length = strlen(key);
  return strncmp(word, key, length) == 0 && word[length] == '=' ? word + length + 1 : NULL;
}

static bool once(const char** place, const char* value) {
  if (*place != NULL) return false;
  *place = value;
  return true;
}

static bool append(const char** list, size_t* count, size_t most, const char* value) {
  if (*count == most) return false;
  list[(*count)++] = value;
  return true;
}

static bool takeProcessWord(const char* word, struct process* process, bool* known) {
  const char* value;
  *known = true;
  if ((value = valueOf(word, "arg")) != NULL) return append(process->args, &process->argCount, kWordsMax, value);
  if ((value = valueOf(word, "env")) != NULL) return append(process->env, &process->envCount, kWordsMax, value);
  if ((value = valueOf(word, "cwd")) != NULL) return once(&process->cwd, value);
  if ((value = valueOf(word, "user")) != NULL) return once(&process->user, value);
  *known = false;
  return true;
}

static bool takeIdentityWord(const char* word, struct settings* settings, bool* known) {
  const char* value;
  struct network* network = &settings->network;
  *known = true;
  if ((value = valueOf(word, "hostname")) != NULL) return once(&settings->hostname, value);
  if ((value = valueOf(word, "hosts")) != NULL) return once(&settings->hosts, value);
  if ((value = valueOf(word, "resolv.conf")) != NULL) return once(&settings->resolvConf, value);
  if ((value = valueOf(word, "machine-id")) != NULL) return once(&settings->machineId, value);
  if ((value = valueOf(word, "mac")) != NULL) return once(&network->mac, value);
  if ((value = valueOf(word, "mtu")) != NULL) return once(&network->mtu, value);
  if ((value = valueOf(word, "address")) != NULL) {
    return append(network->addresses, &network->addressCount, kAddressesMax, value);
  }
  if ((value = valueOf(word, "gateway")) != NULL) {
    return append(network->gateways, &network->gatewayCount, kAddressesMax, value);
  }
  *known = false;
  return true;
}

static bool takeWord(const char* word, struct settings* settings) {
  bool known;
  if (!takeProcessWord(word, &settings->process, &known)) return false;
  if (known) return true;
  if (!takeIdentityWord(word, settings, &known)) return false;
  if (known) return true;
  const char* value;
  if ((value = valueOf(word, "pids-max")) != NULL) return once(&settings->pidsMax, value);
  if ((value = valueOf(word, "tmpfs")) != NULL) {
    return append(settings->tmpfs, &settings->tmpfsCount, kTmpfsMax, value);
  }
  if ((value = valueOf(word, "share")) != NULL) {
    return append(settings->shares, &settings->shareCount, kSharesMax, value);
  }
  if ((value = valueOf(word, "sockets")) != NULL) {
    return append(settings->socketDirectories, &settings->socketDirectoryCount, kSharesMax, value);
  }
  if (strcmp(word, "read-only=1") == 0) return settings->readOnlyRoot = true;
  return false;
}

static bool isWhole(const struct process* process) {
  return process->argCount > 0 && process->args[0][0] != '\0' && process->cwd != NULL && process->cwd[0] == '/' &&
         process->user != NULL;
}

bool readSettings(const char* text, size_t size, struct settings* settings) {
  memset(settings, 0, sizeof *settings);
  for (size_t at = 0; at < size;) {
    const size_t length = strnlen(text + at, size - at);
    if (length == size - at) return false;
    if (length == 0) return isWhole(&settings->process) && settings->hostname != NULL;
    if (!takeWord(text + at, settings)) return false;
    at += length + 1;
  }
  return false;
}

bool readIdentity(const char* text, size_t size, struct settings* settings) {
  memset(settings, 0, sizeof *settings);
  for (size_t at = 0; at < size;) {
    const size_t length = strnlen(text + at, size - at);
    if (length == size - at) return false;
    if (length == 0) return settings->hostname != NULL;
    bool known;
    if (!takeIdentityWord(text + at, settings, &known) || !known) return false;
    at += length + 1;
  }
  return false;
}

bool readProcess(const char* text, size_t size, struct process* process) {
  memset(process, 0, sizeof *process);
  for (size_t at = 0; at < size;) {
    const size_t length = strnlen(text + at, size - at);
    if (length == size - at) return false;
    if (length == 0) return isWhole(process);
    bool known;
    if (!takeProcessWord(text + at, process, &known) || !known) return false;
    at += length + 1;
  }
  return false;
}
