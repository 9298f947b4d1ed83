// The instance's addresses.
#pragma once

#include "settings.h"

// Brings up the loopback device, and the card with the settings' MAC when they name one.
void openNetwork(const struct network* network);
