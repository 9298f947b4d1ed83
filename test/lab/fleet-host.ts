// A lab host under systemd on which `bulkhead up` runs as a unit, and whoever types there.
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Lab } from "./lab.ts";

export const checkout = resolve(import.meta.dirname, "../..");

/** An emulated host compiles every service before it starts it, one processor after the other; in milliseconds. */
export const patientMs = 600_000;

/** The first block of commands below a title of a page of the checkout, without their comments. */
export const commandsBelow = (page: string, title: string): string[] => {
  const [, below = ""] = `\n${readFileSync(join(checkout, page), "utf8")}`.split(`\n${title}\n`);
  const [, block] = /```(?:sh)?\n(.*?)\n```/s.exec(below) ?? [];
  if (block === undefined) throw new Error(`${page} has no commands below ${title}`);
  return block.split("\n").map((line) => line.replace(/\s+#.*$/, ""));
};

export class FleetHost implements AsyncDisposable {
  readonly #lab: Lab;

  private constructor(lab: Lab) {
    this.#lab = lab;
  }

  static async boot(): Promise<FleetHost> {
    return new FleetHost(await Lab.boot({ init: "systemd", modprobe: [], memoryMib: 4096, inTurns: true }));
  }

  /** For what must succeed; answers its standard output. */
  async typed(command: string): Promise<string> {
    const { code, stdout, stderr } = await this.#lab.run(command, {
      timeoutMs: patientMs,
      env: { PATH: `${join(checkout, "apps/cli/bin")}:/usr/sbin:/usr/bin:/sbin:/bin` },
    });
    if (code !== 0) throw new Error(`${command} ended with ${code}:\n${stdout}${stderr}`);
    return stdout;
  }

  /** Waits until a command succeeds. */
  async until(command: string): Promise<void> {
    await this.typed(`until ${command}; do sleep 1; done`);
  }

  /** Starts a fleet of this host as a unit of systemd. Rejects with what it said when it does not come up. */
  async up(): Promise<void> {
    const unit = "-p Delegate=yes -p StandardOutput=file:/tmp/up.log -p StandardError=inherit --collect";
    await this.typed(`systemd-run -q --unit=fleet ${unit} '${join(checkout, "apps/cli/bin/bulkhead")}' up --bare`);
    await this.until("grep -q '^Bulkhead is up' /tmp/up.log || ! systemctl -q is-active fleet");
    const said = await this.typed("cat /tmp/up.log");
    if (!said.includes("\nBulkhead is up.\n")) throw new Error(`the fleet did not come up:\n${said}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lab[Symbol.asyncDispose]();
  }
}
