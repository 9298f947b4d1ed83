import type { Client } from "@bulkhead/client";
import { fleetError } from "@bulkhead/contracts/errors";
import type { Invocation, Run } from "../command.ts";
import { describeError, exitCodeOf, exitCodes } from "../failure.ts";
import { ensureAdminToken, writeLocalContext } from "./admin-token.ts";
import { makeDirectories } from "./directories.ts";
import { isFirstStart, showFirstWorkload } from "./first-workload.ts";
import { makeKeys, startFleet } from "./fleet.ts";
import { linkCommand } from "./link.ts";
import { lockHolder, takeUpLock } from "./lock.ts";
import { endLeftovers } from "./processes.ts";
import { requireHost, requirePorts } from "./requirements.ts";
import { readUpSettings, type UpSettings } from "./settings.ts";
import { Steps } from "./steps.ts";
import { StopRequest } from "./stop-request.ts";
import { Supervisor } from "./supervisor.ts";
import { ensureUsers } from "./users.ts";

const alreadyRunning = ({ layout, apiUrl }: UpSettings): Error => {
  const pid = lockHolder(layout.lock)?.pid;
  return fleetError(
    "STATE_CONFLICT",
    `A fleet is running already from ${layout.state}${pid === undefined ? "" : ` (pid ${pid})`}, its API is ${apiUrl}. Use it, stop it with Ctrl-C or \`bulkhead down\`, or start another with BULKHEAD_STATE_DIR and other ports.`,
  );
};

const prepare = async (invocation: Invocation, settings: UpSettings, steps: Steps) => {
  const { config, layout } = settings;
  const left = await endLeftovers(layout.processes);
  if (left.length > 0) steps.say(`  An earlier \`up\` was killed; ended what it left: ${left.join(", ")}`);
  await requirePorts({
    BULKHEAD_API_PORT: config.apiPort,
    BULKHEAD_METRICS_PORT: config.metricsPort,
    ...(config.natsUrl === undefined ? { BULKHEAD_NATS_PORT: config.natsPort } : {}),
  });
  const users = await ensureUsers();
  await makeDirectories(layout, users);
  const keys = await makeKeys(settings, users);
  const adminToken = await ensureAdminToken(layout.adminToken, users["bulkhead-scheduler"]);
  writeLocalContext(invocation.environment, config.contextName, { url: settings.apiUrl, token: adminToken });
  return { users, keys, adminToken };
};

const welcome = (settings: UpSettings, command: string): string =>
  [
    "",
    "Bulkhead is up.",
    `  API            ${settings.apiUrl}`,
    `  documentation  ${settings.apiUrl}/docs`,
    `  metrics        ${settings.metricsUrl}/metrics`,
    `  logs           ${settings.layout.logs}`,
    "",
    "Type next, in another terminal:",
    `  ${command} ps                  what runs`,
    `  ${command} hosts               what it runs on`,
    `  ${command} help                everything else`,
    "",
    "Ctrl-C stops the fleet; instances keep running and the next start adopts them.",
    "",
  ].join("\n");

/** How many instances run now; undefined when the API cannot say it. */
const countRunning = async (client: Client): Promise<number | undefined> => {
  try {
    const instances = await Promise.race([
      Array.fromAsync(client.instances.list()),
      new Promise<never>((_, reject) => AbortSignal.timeout(3_000).addEventListener("abort", reject, { once: true })),
    ]);
    return instances.filter(({ state }) => state === "running" || state === "paused").length;
  } catch {
    return undefined;
  }
};

const farewell = (running: number | undefined): string => {
  if (running === undefined) return "Instances keep running; the next `up` adopts them.";
  if (running === 0) return "No instances were running.";
  return `${running} instance${running === 1 ? " keeps" : "s keep"} running; the next \`up\` adopts ${running === 1 ? "it" : "them"}.`;
};

/** `bulkhead up`: starts a one-host fleet and stays until it is told to stop. */
export const run: Run = async (invocation) => {
  requireHost({ platform: process.platform, arch: process.arch, uid: process.getuid?.() }, "bulkhead up");
  const settings = readUpSettings(invocation.environment);
  using lock = takeUpLock(settings.layout.lock);
  if (lock === undefined) throw alreadyRunning(settings);
  using stop = new StopRequest();
  const steps = new Steps(invocation.stderr);
  const supervisor = new Supervisor({ record: settings.layout.processes, say: (text) => steps.say(`  ${text}`) });
  let client: Client | undefined;
  let exitCode: number = exitCodes.ok.code;
  try {
    const prepared = await steps.run("users, directories and keys", () => prepare(invocation, settings, steps));
    const starting = startFleet({ settings, ...prepared, supervisor, steps, environment: invocation.environment });
    client = await Promise.race([starting, stop.requested, supervisor.failed]);
    if (client !== undefined) {
      const command = await linkCommand(settings.layout);
      if (!invocation.options.flag("bare") && (await isFirstStart(settings.layout))) {
        const shown = showFirstWorkload(invocation, settings).catch((error: unknown) => {
          // The fleet itself runs; what went wrong is easier to look at while it does.
          if (!stop.isRequested) invocation.say(`${describeError(error)}\nThe fleet runs all the same.`);
        });
        await Promise.race([shown, stop.requested, supervisor.failed]);
      }
      if (!stop.isRequested) invocation.print(welcome(settings, command));
      await Promise.race([stop.requested, supervisor.failed]);
    }
  } catch (error) {
    invocation.say(describeError(error));
    exitCode = exitCodeOf(error);
  }
  const running = client === undefined ? undefined : await countRunning(client);
  await steps.run("stopping the services", () => supervisor.stop());
  if (client !== undefined) invocation.print(`${farewell(running)}\n`);
  return exitCode;
};
