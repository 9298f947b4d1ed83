import { constants } from "node:os";
import { isFleetError } from "@bulkhead/contracts";
import { Type, type Static, type TObject } from "typebox";
import { loadConfig, printConfig, type Environment } from "./config.ts";
import { createLogger, logLevels, type Logger } from "./log.ts";
import { Readiness } from "./readiness.ts";
import { Scope } from "./scope.ts";
import { setting } from "./setting.ts";

/** sysexits.h EX_CONFIG: a supervisor need not try again with the same configuration. */
export const configExitCode = 78;

/** What every service reads, whatever else it needs. */
export const ServiceConfig = Type.Object({
  logLevel: setting(
    "BULKHEAD_LOG_LEVEL",
    Type.Union(
      logLevels.map((level) => Type.Literal(level)),
      { default: "info" },
    ),
  ),
  shutdownMs: setting("BULKHEAD_SHUTDOWN_MS", Type.Integer({ default: 10_000, minimum: 100, maximum: 600_000 })),
});

const stopSignals = ["SIGTERM", "SIGINT"] as const;

/** Writes one line even when the configuration of the log itself is what is wrong. */
const bareLogger = (service: string): Logger => createLogger({ service });

export interface ServiceOptions<Config extends TObject> {
  readonly name: string;
  /** what it reads beside `ServiceConfig` */
  readonly config: Config;
  readonly environment?: Environment;
}

/** Every setting as a service would run with it, for `--print-config`. Throws CONFIG_INVALID. */
const settingsOf = (schema: TObject, environment: Environment | undefined): string =>
  printConfig(schema, loadConfig(schema, environment));

/**
 * Runs a service until it is told to stop, or with the argument `--print-config` prints its settings and does nothing
 * else. `start` opens resources with `scope.use` and resolves when all are open.
 * SIGTERM and SIGINT: readiness turns false, `scope.signal` aborts, resources close in reverse order, all within one
 * deadline (`BULKHEAD_SHUTDOWN_MS`); a second signal exits at once. Exit code 0 after a clean stop, 1 after a failure,
 * 78 when the configuration is invalid, 128 + n on a second signal. Unhandled rejections and exceptions end it.
 */
export const runService = async <Config extends TObject>(
  service: ServiceOptions<Config>,
  start: (scope: Scope, config: Readonly<Static<Config>>) => Promise<void>,
): Promise<void> => {
  const { name, environment } = service;
  const stop = Promise.withResolvers<number>();
  const abort = new AbortController();
  let log = bareLogger(name);

  const fail = (err: unknown): void => {
    log.fatal({ err }, "service failed");
    stop.resolve(isFleetError(err) && err.code === "CONFIG_INVALID" ? configExitCode : 1);
  };
  let asked = false;
  for (const signal of stopSignals) {
    process.on(signal, () => {
      if (asked) process.exit(128 + constants.signals[signal]);
      asked = true;
      log.info({ signal }, "stopping");
      stop.resolve(0);
    });
  }
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);

  const readiness = new Readiness();
  let shutdownMs = 0;
  let scope: Scope | undefined;
  const open = async (): Promise<void> => {
    try {
      const config = loadConfig(ServiceConfig, environment);
      shutdownMs = config.shutdownMs;
      log = createLogger({ service: name, level: config.logLevel });
      scope = new Scope({ log, readiness, signal: abort.signal, fail });
      const begun = performance.now();
      await start(scope, loadConfig(service.config, environment));
      if (abort.signal.aborted) return;
      readiness.open();
      log.info({ startMs: Math.round(performance.now() - begun) }, "service started");
    } catch (err) {
      // Told to stop while starting: giving up is what was asked for.
      if (abort.signal.aborted) log.info({ err }, "start abandoned");
      else fail(err);
    }
  };
  const print = async (): Promise<void> => {
    try {
      process.stdout.write(`${settingsOf(ServiceConfig, environment)}\n${settingsOf(service.config, environment)}\n`);
      process.exit(0);
    } catch (err) {
      fail(err);
    }
  };
  const opening = process.argv.includes("--print-config") ? print() : open();

  let exitCode = await stop.promise;
  readiness.close();
  const deadline = setTimeout(() => {
    log.error({ shutdownMs, resource: scope?.releasing ?? "" }, "shutdown deadline missed");
    process.exit(1);
  }, shutdownMs);
  abort.abort();
  await opening;
  const clean = (await scope?.release()) ?? true;
  clearTimeout(deadline);
  if (!clean && exitCode === 0) exitCode = 1;
  log.info({ exitCode }, "service stopped");
  process.exit(exitCode);
};
