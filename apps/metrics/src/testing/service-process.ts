import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../main.ts", import.meta.url));

/** The real service in a process of its own, on a free port. */
export class ServiceProcess implements AsyncDisposable {
  readonly url: string;
  readonly messages: string[];
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string, messages: string[]) {
    this.#child = child;
    this.url = url;
    this.messages = messages;
  }

  /** Resolves when it listens; rejects when it ended before. */
  static async start(environment: Readonly<Record<string, string>>): Promise<ServiceProcess> {
    const child = spawn(process.execPath, [main], {
      env: { BULKHEAD_METRICS_PORT: "0", ...environment },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const messages: string[] = [];
    const listening = Promise.withResolvers<string>();
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { msg, url } = JSON.parse(line) as { msg: string; url?: string };
      messages.push(msg);
      if (msg === "metrics listening" && url !== undefined) listening.resolve(url);
    });
    child.once("close", () => listening.reject(new Error(`the service ended: ${messages.join("; ")}`)));
    return new ServiceProcess(child, await listening.promise, messages);
  }

  /** Its exit code after SIGTERM. */
  async stop(): Promise<number | null> {
    if (this.#child.exitCode !== null) return this.#child.exitCode;
    this.#child.kill("SIGTERM");
    const [code] = (await once(this.#child, "close")) as [number | null];
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
