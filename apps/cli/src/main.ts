import { enableCompileCache } from "node:module";

// Before the imports below, which are dynamic for this reason: cached code halves the start time.
enableCompileCache();
const { main } = await import("./cli.ts");
const { processEnvironment } = await import("./environment.ts");

const interrupt = new AbortController();
process.once("SIGINT", () => {
  interrupt.abort();
});
process.exitCode = await main(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  environment: processEnvironment(),
  signal: interrupt.signal,
});
