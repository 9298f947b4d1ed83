// Keeps every process of the instance still, so that the machine can be copied with none of them in the middle of a
// word.
#pragma once

#include <stdbool.h>

// Stops them and writes what they wrote to the disks. Answers 0, or an errno with all of them running: ENOTSUP without
// a cgroup of theirs, EBUSY when one has left it, ETIMEDOUT when one does not stop.
int freezeInstance(void);

// Lets them go on; answers an errno.
int thawInstance(void);

// True between the two. A program that is started now would never begin.
bool isFrozen(void);
