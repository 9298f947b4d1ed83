import { createServer } from "node:net";
import { Type } from "typebox";
import { runService, setting } from "../index.ts";

const mode = process.argv[2];

/** A service for run.test.ts: two resources and one way to misbehave, named by the first argument. */
const config = Type.Object({ size: setting("T_SIZE", Type.Integer({ default: 3 })) });

await runService({ name: "sample", config }, async (scope) => {
  const closing = (name: string) => () => {
    scope.log.info(`closed ${name}, ready ${scope.readiness.isOpen}`);
  };
  // Something must keep the process alive, as a listening socket does in a real service.
  const server = createServer().listen(0, "127.0.0.1");
  scope.defer("server", () => server.close());
  scope.defer("first", closing("first"));
  if (mode === "failing-start") throw new Error("no database");
  if (mode === "slow-start") {
    scope.log.info("still starting");
    await new Promise((_resolve, reject) => {
      scope.signal.addEventListener("abort", () => reject(scope.signal.reason as Error));
    });
  }
  if (mode === "stuck") {
    scope.defer("stuck", () => {
      scope.log.info("closing hangs");
      return new Promise(() => undefined);
    });
  }
  if (mode === "failing-close") {
    scope.defer("failing", () => {
      throw new Error("cannot close");
    });
  }
  scope.defer("second", closing("second"));
  if (mode === "rejection") void Promise.reject(new Error("nobody awaits this"));
  if (mode === "exception") {
    setImmediate(() => {
      throw new Error("nobody catches this");
    });
  }
  if (mode === "fail") scope.fail(new Error("lost the disk"));
});
