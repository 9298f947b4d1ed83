/**
 * What runs over the virtio-serial port between a test and the agent in its lab host. A frame is
 *
 *     u32 size of the payload | u8 kind | u32 command | payload          (little endian)
 *
 * Bytes stay bytes: output is neither decoded nor split into lines on the way.
 */

/** A command line to run in the lab host. */
export interface Order {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

/** How a command ended: an exit code, 128 + signal as a shell would say, or why it could not be started. */
export interface Ending {
  readonly code: number;
  readonly signal: string | null;
  readonly error?: string;
}

/** Kinds of frames; `ready` and what a command prints go outwards, the rest inwards. */
export const frameKinds = { ready: 1, order: 2, input: 3, kill: 4, stdout: 5, stderr: 6, ended: 7 } as const;

export type FrameKind = (typeof frameKinds)[keyof typeof frameKinds];

export interface Frame {
  readonly kind: FrameKind;
  /** number of the command that this frame belongs to; 0 for none */
  readonly command: number;
  readonly payload: Buffer;
}

const headerBytes = 9;

/** Far above any read or order; beyond it the stream is out of step, and reading on would be guessing. */
const payloadBytesMax = 16 * 1024 * 1024;

const kinds = new Set<number>(Object.values(frameKinds));

export const encodeFrame = ({ kind, command, payload }: Frame): Buffer => {
  const header = Buffer.allocUnsafe(headerBytes);
  header.writeUInt32LE(payload.length, 0);
  header.writeUInt8(kind, 4);
  header.writeUInt32LE(command, 5);
  return Buffer.concat([header, payload]);
};

/** Frames out of a byte stream, however it is cut. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);

  /**
   * The frames that are complete with this piece.
   * @throws {RangeError} when the stream is not one of frames
   */
  push(piece: Buffer): Frame[] {
    this.#pending = this.#pending.length === 0 ? piece : Buffer.concat([this.#pending, piece]);
    const frames: Frame[] = [];
    while (this.#pending.length >= headerBytes) {
      const size = this.#pending.readUInt32LE(0);
      const kind = this.#pending.readUInt8(4);
      if (size > payloadBytesMax || !kinds.has(kind)) throw new RangeError(`no frame: kind ${kind}, ${size} bytes`);
      if (this.#pending.length < headerBytes + size) break;
      frames.push({
        kind: kind as FrameKind,
        command: this.#pending.readUInt32LE(5),
        payload: this.#pending.subarray(headerBytes, headerBytes + size),
      });
      this.#pending = this.#pending.subarray(headerBytes + size);
    }
    return frames;
  }
}

/** A frame whose payload is JSON. */
export const jsonFrame = (kind: FrameKind, command: number, value: Order | Ending): Frame => ({
  kind,
  command,
  payload: Buffer.from(JSON.stringify(value)),
});
