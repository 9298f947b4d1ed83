// What only the guest's kernel knows of its use.
#pragma once

#include <stddef.h>

// Lines of `name value`: memory and pressure of /proc, and steal, the time that the host ran something else.
size_t readGuestUsage(char* text, size_t size);
