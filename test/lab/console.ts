import type { ChildProcess } from "node:child_process";

const keptBytes = 256 * 1024;
/** More than a kernel panic has. */
const shownLines = 100;

/** Terminal control sequences, which systemd writes to any console. */
// oxlint-disable-next-line no-control-regex
const escapes = /\u001b\[[0-9;?]*[ -/]*[@-~]|\r/g;

/** What a QEMU process says: its own errors and the serial console of the machine in it. */
export class Console {
  #text = "";
  /** how the process ended, when it has */
  readonly ended: Promise<string>;

  constructor(qemu: ChildProcess) {
    for (const stream of [qemu.stdout, qemu.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#text = (this.#text + text).slice(-keptBytes);
      });
    }
    this.ended = new Promise((resolve) => {
      qemu.once("error", (error) => resolve(`QEMU could not be started: ${error.message}`));
      qemu.once("close", (code, signal) => resolve(`QEMU ended (${signal ?? `exit code ${code}`})`));
    });
  }

  /** Its last lines. */
  tail(): string {
    return this.#text
      .replaceAll(escapes, "")
      .split("\n")
      .filter((line) => line.trim() !== "")
      .slice(-shownLines)
      .join("\n");
  }
}
