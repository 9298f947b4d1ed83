import { randomBytes } from "node:crypto";
import { fleetError } from "@bulkhead/contracts";
import type { GuestChannel, StreamListener } from "./channel.ts";
import { errnoName } from "./exec.ts";
import { frameTypes, type Frame } from "./frames.ts";
import { encodeIdentity, type GuestIdentity } from "./settings.ts";

/** How long a guest may take to carry an order out, in milliseconds: it writes to its disks what it has in memory. */
const answerMs = 120_000;
/** A guest that lets its processes go on writes one file, in milliseconds; who is late is asked again. */
const thawMs = 20_000;
/** Randomness that comes with an identity; native/guest/src/frame.h. */
const entropyBytes = 64;

/** An errno that the guest answered; anything else is no answer. */
const errnoIn = (payload: Buffer): number | null => {
  const errno = payload.length === 4 ? payload.readInt32LE(0) : -1;
  return errno >= 0 && errno <= 4095 ? errno : null;
};

interface Order {
  readonly type: number;
  readonly payload?: Uint8Array;
  readonly withinMs?: number;
}

/** Gives an order and waits for what the guest says of it. Rejects RUNTIME_FAILED when that is nothing. */
const give = (channel: GuestChannel, { type, payload, withinMs = answerMs }: Order): Promise<number> => {
  if (channel.closed) return Promise.reject(fleetError("RUNTIME_FAILED", "the connection to the guest has ended"));
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const listener: StreamListener = {
    frame: (frame: Frame) => {
      const errno = frame.type === type ? errnoIn(frame.payload) : null;
      if (errno === null) channel.cutOff("the guest answers an order with something else");
      else resolve(errno);
    },
    lost: () => reject(fleetError("RUNTIME_FAILED", "the guest closed the connection before it answered")),
  };
  const stream = channel.listen(listener);
  const late = setTimeout(() => {
    reject(
      fleetError("RUNTIME_FAILED", `the guest did not answer within ${withinMs} ms; one of an older agent never does`),
    );
  }, withinMs);
  channel.send(type, stream, payload);
  return promise.finally(() => {
    clearTimeout(late);
    channel.leave(stream);
  });
};

const refused = (what: string, errno: number) =>
  fleetError("RUNTIME_FAILED", `the guest could not ${what}: ${errnoName(errno)}`);

/** Why processes cannot be kept still; by errno's name, from native/guest/src/freezer.h. */
const unfrozen: Readonly<Record<string, string>> = {
  ENOTSUP: "its kernel keeps no cgroup for its processes",
  EOPNOTSUPP: "its kernel keeps no cgroup for its processes",
  EBUSY: "a process in it has left the instance's cgroup; move it back, or end it",
  ETIMEDOUT: "a process in it does not stop; try again",
};

/** Keeps every process of the instance still. Rejects SNAPSHOT_UNSUPPORTED when one would not be, RUNTIME_FAILED. */
export const freezeGuest = async (channel: GuestChannel): Promise<void> => {
  const errno = await give(channel, { type: frameTypes.freeze });
  if (errno === 0) return;
  const why = unfrozen[errnoName(errno)];
  throw why === undefined ? refused("keep its processes still", errno) : fleetError("SNAPSHOT_UNSUPPORTED", why);
};

export const thawGuest = async (channel: GuestChannel): Promise<void> => {
  const errno = await give(channel, { type: frameTypes.thaw, withinMs: thawMs });
  if (errno !== 0) throw refused("let its processes go on", errno);
};

/** Makes a copy somebody else, while its processes are kept still: resolves when the guest says that it is. */
export const becomeInGuest = async (channel: GuestChannel, identity: GuestIdentity): Promise<void> => {
  const payload = Buffer.concat([randomBytes(entropyBytes), encodeIdentity(identity)]);
  const errno = await give(channel, { type: frameTypes.become, payload });
  if (errno !== 0) throw refused("take on what it is told to be", errno);
};

/** How long a guest may take to let go of a share, in milliseconds; its host takes it away without it afterwards. */
export const unmountMs = 10_000;

/**
 * Takes a share away inside. Resolves with whether programs had files of it open there, which were ended. Rejects
 * RUNTIME_FAILED when the guest cannot.
 */
export const unmountInGuest = async (channel: GuestChannel, path: string): Promise<{ readonly busy: boolean }> => {
  const errno = await give(channel, { type: frameTypes.unmount, payload: Buffer.from(path), withinMs: unmountMs });
  const name = errnoName(errno);
  // Nothing is there: an agent before this one had it taken away, or a program of the guest's did.
  if (errno !== 0 && name !== "EBUSY" && name !== "EINVAL" && name !== "ENOENT")
    throw refused(`unmount ${path}`, errno);
  return { busy: name === "EBUSY" };
};
