import { createInterface } from "node:readline/promises";
import { setTimeout as delay } from "node:timers/promises";
import { fleetError } from "@bulkhead/contracts/errors";
import { type Invocation, type Run, UsageError } from "../command.ts";
import { lockHolder, takeUpLock, type UpLock } from "./lock.ts";
import { endLeftovers } from "./processes.ts";
import { purge, removeWorkloads } from "./purge.ts";
import { requireHost } from "./requirements.ts";
import { readUpSettings, type Layout } from "./settings.ts";
import { Steps } from "./steps.ts";

/** A clean stop of everything takes seconds; a database that writes its last checkpoint takes the longest, in ms. */
const stopMs = 90_000;
const pollMs = 50;

const confirm = async (invocation: Invocation, layout: Layout): Promise<void> => {
  if (invocation.options.flag("yes")) return;
  if (!invocation.stdin.isTTY)
    throw new UsageError("--purge removes everything; say --yes where there is nobody to ask.");
  const question = createInterface({ input: invocation.stdin, output: invocation.stderr });
  const answer = await question.question(
    `Stop every instance and remove ${layout.state} with its database and images? [y/N] `,
  );
  question.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new UsageError("Nothing was removed.");
};

/** Ends a running `up` and takes its lock, so that none starts meanwhile. */
const stopUp = async (layout: Layout): Promise<UpLock> => {
  const deadline = performance.now() + stopMs;
  let told = 0;
  for (;;) {
    const lock = takeUpLock(layout.lock);
    if (lock !== undefined) return lock;
    const holder = lockHolder(layout.lock);
    if (holder !== undefined && holder.pid !== told) {
      told = holder.pid;
      process.kill(holder.pid, "SIGTERM");
    }
    if (performance.now() > deadline) {
      throw fleetError(
        "STATE_CONFLICT",
        `\`up\` (pid ${holder?.pid ?? "unknown"}) does not end; look at its terminal.`,
      );
    }
    await delay(pollMs);
  }
};

/** `bulkhead down [--purge]` */
export const run: Run = async (invocation) => {
  requireHost({ platform: process.platform, arch: process.arch, uid: process.getuid?.() }, "bulkhead down");
  const settings = readUpSettings(invocation.environment);
  const { layout } = settings;
  const wholly = invocation.options.flag("purge");
  if (wholly) await confirm(invocation, layout);
  const steps = new Steps(invocation.stderr);
  const running = lockHolder(layout.lock) !== undefined;
  if (wholly && running) await steps.run("instances, through the API", () => removeWorkloads(settings));
  using _lock = await steps.run(running ? "stopping `up`" : "no `up` is running", () => stopUp(layout));
  await endLeftovers(layout.processes);
  if (wholly) await purge(invocation, settings, steps);
  else
    invocation.print("Stopped. Instances keep running; `npm run up` adopts them, `bulkhead down --purge` ends them.\n");
};
