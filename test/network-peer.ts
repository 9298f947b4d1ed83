import { spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Readable } from "node:stream";

const programs = {
  /** says back what it hears, by TCP */
  echo: `require("node:net").createServer((c) => c.on("error", () => {}).pipe(c))`,
  /** sends without end to whoever connects */
  source: `require("node:net").createServer((c) => { const block = Buffer.alloc(65536); const more = () => { while (c.write(block)); }; c.on("error", () => {}).on("drain", more); more(); })`,
  /** says every 50 ms how many bytes it has heard in all */
  sink: `(() => { let all = 0; setInterval(() => console.log(all), 50).unref(); return require("node:net").createServer((c) => c.on("error", () => {}).on("data", (d) => { all += d.length; })); })()`,
} as const;
const datagramEcho = `const s = require("node:dgram").createSocket("udp6"); s.on("message", (m, r) => s.send(m, r.port, r.address)); s.bind(PORT, () => console.log("ready"));`;

/** A server inside the network of a process, which is an instance's; ended with -9 when disposed of. */
export class NetworkPeer implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<null, Readable, null>;

  private constructor(child: ChildProcessByStdio<null, Readable, null>) {
    this.#child = child;
  }

  static async serve(pid: number, kind: keyof typeof programs | "datagrams", port: number): Promise<NetworkPeer> {
    const program =
      kind === "datagrams"
        ? datagramEcho.replace("PORT", String(port))
        : `${programs[kind]}.listen(${port}, "::", () => console.log("ready"))`;
    const child = spawn("nsenter", [`--net=/proc/${pid}/ns/net`, process.execPath, "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    return new NetworkPeer(child);
  }

  /** The newest number that the server has said. */
  async said(): Promise<number> {
    const [chunk] = (await once(this.#child.stdout, "data")) as [Buffer];
    return Number(String(chunk).trim().split("\n").at(-1));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }
}

/** A connection that answers one word at a time. */
export class Dialogue implements Disposable {
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async open(host: string, port: number): Promise<Dialogue> {
    const socket = connect({ host, port, timeout: 5_000 });
    socket.on("timeout", () => socket.destroy(new Error(`${host}:${port} is silent`)));
    await once(socket, "connect");
    return new Dialogue(socket);
  }

  async ask(word: string): Promise<string> {
    this.#socket.write(word);
    const [chunk] = (await once(this.#socket, "data")) as [Buffer];
    return String(chunk);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

/**
 * Bits per second that `bytes` says pass, over 1.5 s once the bucket of the first moment (at most 64 KiB or 10 ms) and
 * the start of TCP are over.
 */
export const bitsPerSecond = async (bytes: () => number | Promise<number>): Promise<number> => {
  const begun = performance.now();
  let first: { at: number; bytes: number } | undefined;
  for (;;) {
    const now = { bytes: await bytes(), at: performance.now() };
    if (first === undefined && now.at - begun > 500) first = now;
    if (first !== undefined && now.at - first.at > 1_500)
      return ((now.bytes - first.bytes) * 8_000) / (now.at - first.at);
    await new Promise(setImmediate);
  }
};
