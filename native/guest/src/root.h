// The instance's root file system: the image's disk below, what it writes above, and what every program expects in it.
#pragma once

#include "settings.h"

// Mounts it and makes it this process's root. Ends the machine when it cannot.
void enterRoot(const struct settings* settings);

// Its host name, and the files in /etc that say who and where it is. Ends the machine when it cannot.
void provideIdentity(const struct settings* settings);
