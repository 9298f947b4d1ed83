// Waits for descriptors; what is ready is called.
#pragma once

#include <stdint.h>

struct source {
  void (*ready)(struct source* source, uint32_t events);
  int file;
  uint32_t wanted;
};

void openLoop(void);
// Adds a source or changes what it waits for; 0 keeps it and hears only of its end.
void await(struct source* source, uint32_t events);
// Takes it out; a call for it that was already due is not made.
void forget(struct source* source);
// Waits up to `timeoutMs` (-1: for ever) and calls what is ready.
void turn(int timeoutMs);
