// Sockets that the instance's programs listen at in its directories of sockets: the host has one for each, whose
// connections come here.
#pragma once

#include <stdint.h>

// Looks out for what programs make in a directory that they may change.
void watchDirectory(uint8_t directory);
// Tells the host what is there, when that is something else than it was told.
void offerSockets(uint8_t directory);
// Whoever was told is gone.
void forgetOffers(void);
