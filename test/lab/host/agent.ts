/**
 * Runs inside a lab host: takes orders from the virtio-serial port named on its command line and answers with what the
 * commands print and how they end. Ends when the test at the other side is gone; init then powers the machine off.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { constants, createReadStream, createWriteStream, openSync, readdirSync, readFileSync } from "node:fs";
import { constants as os } from "node:os";
import { join } from "node:path";
import { encodeFrame, frameKinds, FrameReader, jsonFrame, type Frame, type Order } from "../frames.ts";

const ports = "/sys/class/virtio-ports";

/** /dev/virtio-ports is udev's work; the kernel itself only has numbers. */
const deviceOf = (name: string): string => {
  const port = readdirSync(ports).find((entry) => readFileSync(join(ports, entry, "name"), "utf8").trim() === name);
  if (port === undefined) throw new Error(`no virtio port is called ${name}`);
  return join("/dev", port);
};

const port = openSync(deviceOf(process.argv[2] ?? ""), constants.O_RDWR);
const outwards = createWriteStream("", { fd: port, autoClose: false });
const commands = new Map<number, ChildProcess>();

/** `written` is called when the port has taken the frame: who prints faster than that has to wait. */
const send = (frame: Frame, written?: () => void): void => void outwards.write(encodeFrame(frame), written);

const finish = (command: number, code: number, signal: NodeJS.Signals | null, error?: string): void => {
  commands.delete(command);
  const ending = { code: signal === null ? code : 128 + os.signals[signal], signal };
  send(jsonFrame(frameKinds.ended, command, error === undefined ? ending : { ...ending, error }));
};

const begin = (command: number, { argv, cwd, env }: Order): void => {
  const [program = "", ...args] = argv;
  // A session of its own, so that a kill reaches what the command started as well.
  const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, detached: true });
  commands.set(command, child);
  for (const [stream, kind] of [
    [child.stdout, frameKinds.stdout],
    [child.stderr, frameKinds.stderr],
  ] as const) {
    stream.on("data", (payload: Buffer) => {
      stream.pause();
      send({ kind, command, payload }, () => void stream.resume());
    });
  }
  // A command need not read what it is given.
  child.stdin.on("error", () => {});
  child.once("error", (error) => finish(command, 127, null, error.message));
  child.once("close", (code, signal) => {
    if (commands.has(command)) finish(command, code ?? 0, signal);
  });
};

const obey = ({ kind, command, payload }: Frame): void => {
  const child = commands.get(command);
  if (kind === frameKinds.order) begin(command, JSON.parse(payload.toString("utf8")) as Order);
  else if (kind === frameKinds.input && payload.length > 0) child?.stdin?.write(payload);
  else if (kind === frameKinds.input) child?.stdin?.end();
  else if (kind === frameKinds.kill && child?.pid !== undefined) {
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // Ended meanwhile; its own frame says so.
    }
  }
};

const reader = new FrameReader();
createReadStream("", { fd: port, autoClose: false, highWaterMark: 64 * 1024 })
  .on("data", (piece) => {
    for (const frame of reader.push(piece as Buffer)) obey(frame);
  })
  .once("close", () => process.exit(0))
  .once("end", () => process.exit(0));
send({ kind: frameKinds.ready, command: 0, payload: Buffer.alloc(0) });
