import { createHash } from "node:crypto";
import { Transform } from "node:stream";
import { fleetError } from "@bulkhead/contracts";

/** A body that passes through while it is counted and hashed. */
export interface MeteredBody {
  readonly stream: Transform;
  /** SHA-256 of what has passed, in hex; call once, at the end */
  digest(): string;
}

/** Fails the stream with IMAGE_TOO_LARGE after `maxBytes`. */
export const meteredBody = (maxBytes: number): MeteredBody => {
  const hash = createHash("sha256");
  let bytes = 0;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) {
        return done(fleetError("IMAGE_TOO_LARGE", `The archive is larger than ${maxBytes} bytes.`));
      }
      hash.update(chunk);
      done(null, chunk);
    },
  });
  return { stream, digest: () => hash.digest("hex") };
};
