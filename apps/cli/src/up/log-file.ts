import { createWriteStream, renameSync, statSync, type WriteStream } from "node:fs";

/** A service's log is moved aside at this size, in bytes; one older file is kept. */
const maxBytes = 10 * 1024 * 1024;

const sizeOf = (path: string): number => {
  try {
    return statSync(path).size;
  } catch {
    return 0;
  }
};

/** Appends a service's lines to a file of bounded size. A full disk loses lines, never the service. */
export class LogFile {
  readonly path: string;
  #stream: WriteStream;
  #bytes: number;

  constructor(path: string) {
    this.path = path;
    this.#bytes = sizeOf(path);
    this.#stream = this.#open();
  }

  write(line: string): void {
    if (this.#bytes > maxBytes) {
      this.#stream.end();
      renameSync(this.path, `${this.path}.1`);
      this.#bytes = 0;
      this.#stream = this.#open();
    }
    this.#bytes += Buffer.byteLength(line) + 1;
    this.#stream.write(`${line}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#stream.once("error", () => resolve());
      this.#stream.end(resolve);
    });
  }

  #open(): WriteStream {
    return createWriteStream(this.path, { flags: "a", mode: 0o600 }).on("error", () => undefined);
  }
}
