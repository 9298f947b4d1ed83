/** Types of the frames between host and guest; native/guest/src/frame.h says what each carries. */
export const frameTypes = {
  hello: 1,
  signal: 2,
  clock: 3,
  exec: 16,
  input: 17,
  taken: 18,
  resize: 19,
  kill: 20,
  close: 21,
  started: 32,
  failed: 33,
  output: 34,
  error: 35,
  ended: 36,
  usage: 48,
  freeze: 64,
  thaw: 65,
  become: 66,
  sockets: 80,
  connect: 81,
  unmount: 82,
  offered: 83,
} as const;

export const protocolVersion = 1;
/** Streams that a guest begins are numbered from here on, a host's below. */
export const guestStreams = 0x8000;
const headerBytes = 8;
/** Largest payload, in bytes; a guest that names a larger one is not believed. */
export const payloadMax = 65_536;
/** What a side may send on one stream before the other has said that it took it, in bytes. */
export const windowBytes = 256 * 1024;

export interface Frame {
  readonly type: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export const encodeFrame = (type: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer => {
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32LE(payload.byteLength, 0);
  header.writeUInt8(type, 4);
  header.writeUInt16LE(stream, 6);
  return Buffer.concat([header, payload]);
};

/** What came is no frame of ours; the connection cannot be used any more. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

/** Gathers frames from a stream of bytes that a guest sends; holds one unfinished frame at most. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Frames that are whole with these bytes. Throws {@link FrameError} for one that is too large. */
  take(bytes: Buffer): Frame[] {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const frames: Frame[] = [];
    let at = 0;
    while (all.length - at >= headerBytes) {
      const size = all.readUInt32LE(at);
      if (size > payloadMax) throw new FrameError(`the guest sent a frame of ${size} bytes`);
      const end = at + headerBytes + size;
      if (end > all.length) break;
      frames.push({
        type: all.readUInt8(at + 4),
        stream: all.readUInt16LE(at + 6),
        payload: all.subarray(at + headerBytes, end),
      });
      at = end;
    }
    this.#rest = Buffer.from(all.subarray(at));
    return frames;
  }
}
