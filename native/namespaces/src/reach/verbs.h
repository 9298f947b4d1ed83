// What bulkhead-reach can do; each takes its request and fills the members of an open JSON object.
#pragma once

#include "reach/answer.h"
#include "reach/request.h"
#include "sys/result.h"

namespace bulkhead::reach {

/** pid, startTicks, stop: device nodes and, when `stop`, the seccomp filters of a process, which it stops for that. */
Status inspect(Request* request, Answer* answer);
/** pid, startTicks, beneath, source, destination, readOnly, noExec, idMapped: shows a directory in a running container.
 */
Status attach(Request* request, Answer* answer);
/** pid, startTicks, beneath, source: takes every mount of that directory out of a running container. */
Status detach(Request* request, Answer* answer);

}  // namespace bulkhead::reach
