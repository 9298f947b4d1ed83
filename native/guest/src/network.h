// The instance's addresses.
#pragma once

#include "settings.h"

// Brings up the loopback device, and the card with the settings' MAC when they name one.
void openNetwork(const struct network* network);

// Gives the card of `before` the address and the addresses of `after`. Ends the machine when it cannot; nothing to do
// without a card.
void renewNetwork(const struct network* before, const struct network* after);
