import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fleetError } from "@bulkhead/contracts/errors";
import { contextPath } from "../context-file.ts";
import type { Invocation } from "../command.ts";
import type { Layout, UpSettings } from "./settings.ts";

const marker = (layout: Layout): string => join(layout.state, "first-workload-shown");

/** True until the first workload was shown once. */
export const isFirstStart = async (layout: Layout): Promise<boolean> =>
  (await readFile(marker(layout), "utf8").catch(() => undefined)) === undefined;

const workload = "first-redis";

/** A command line as a person types it, for the words used here. */
const typed = (words: readonly string[]): string =>
  words.map((word) => (/^[\w./:=,@%+-]+$/.test(word) ? word : `'${word}'`)).join(" ");

/** A Redis reply is one line, or two when the first gives the length of the second (RESP2 bulk string). */
const isWhole = (reply: string): boolean => reply.split("\r\n").length > (reply.startsWith("$") ? 2 : 1);

/** Asks a Redis server on a Unix socket one line and answers the last line of its reply. */
const askSocket = (path: string, line: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ path });
    let reply = "";
    socket.setTimeout(5_000, () => socket.destroy(new Error(`${path} does not answer`)));
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      reply += text;
      if (isWhole(reply)) socket.end();
    });
    socket.once("error", reject);
    socket.once("close", () => resolve(reply.trim().split("\r\n").at(-1) ?? ""));
    socket.write(`${line}\r\n`);
  });

/** The socket appears when the server has read its configuration. */
const askWhenThere = async (path: string, line: string): Promise<string> => {
  const deadline = performance.now() + 15_000;
  for (;;) {
    try {
      return await askSocket(path, line);
    } catch (error) {
      if (performance.now() > deadline) {
        throw fleetError(
          "SETUP_FAILED",
          `The first workload does not answer on ${path}; \`bulkhead logs ${workload}\` says why.`,
          {
            cause: error,
          },
        );
      }
      await delay(50);
    }
  }
};

/**
 * Shows the main job with real commands on real software: a Redis server from Debian's packages in a container, spoken
 * to by exec and through a socket in a shared directory, resized while it runs. Rejects when one of them fails.
 */
export const showFirstWorkload = async (invocation: Invocation, settings: UpSettings): Promise<void> => {
  const { layout, config } = settings;
  const { print } = invocation;
  const run = async (words: readonly string[]): Promise<void> => {
    print(`\n$ bulkhead ${typed(words)}\n`);
    const code = await invocation.runLine(["--context", config.contextName, ...words], {
      ...invocation,
      environment: { ...invocation.environment, BULKHEAD_CONTEXT_FILE: contextPath(invocation.environment) },
    });
    if (code !== 0) {
      throw fleetError(
        "SETUP_FAILED",
        `The first workload failed at \`bulkhead ${typed(words)}\` (exit code ${code}). \`up --bare\` starts without it.`,
      );
    }
  };
  const directory = join(layout.shared, "first");
  await mkdir(directory, { recursive: true });
  // The server's user has another number here; like /tmp, everyone may make files and remove only their own.
  await chmod(directory, 0o1777);
  const archive = join(layout.state, "redis.tar");
  const socket = join(directory, "redis.sock");
  print("\nThis is the first start, so here is what Bulkhead does, with a real Redis server:\n");
  await run(["images", "build", "redis-server", "redis-tools", "busybox-static", "--file", archive]);
  await run(["images", "import", archive, "--name", "redis"]);
  await rm(archive, { force: true });
  const server = [
    "redis-server",
    "--port",
    "0",
    "--unixsocket",
    "/shared/redis.sock",
    "--unixsocketperm",
    "777",
    "--save",
    "",
  ];
  await run([
    "run",
    "redis",
    "--name",
    workload,
    "--memory",
    "64Mi",
    "--mount",
    `${directory}:/shared:rw`,
    "--",
    ...server,
  ]);
  const reply = await askWhenThere(socket, "SET greeting hello-from-the-host");
  print(`\nFrom the host, through the socket in the shared directory ${directory}:\n`);
  print(`  SET greeting hello-from-the-host  ->  ${reply}\n`);
  await run(["exec", workload, "redis-cli", "-s", "/shared/redis.sock", "GET", "greeting"]);
  await run(["resize", workload, "--memory", "128Mi", "--cpu-limit", "0.5"]);
  const remembered = await askSocket(socket, "GET greeting");
  print(`\nIt was not restarted, so it still knows: GET greeting  ->  ${remembered}\n`);
  await run(["ps"]);
  print(`\nIt keeps running; \`bulkhead rm ${workload}\` ends it.\n`);
  await writeFile(marker(layout), `${new Date().toISOString()}\n`);
};
