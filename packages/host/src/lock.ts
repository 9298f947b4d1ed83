import { randomBytes } from "node:crypto";
import { link, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fleetError } from "@bulkhead/contracts";
import { readBootId } from "./boot.ts";
import { identityLives, ownIdentity, type ProcessIdentity } from "./process.ts";

interface Holder extends ProcessIdentity {
  readonly bootId: string;
  readonly released: boolean;
}

/** The right to be the one agent of its kind on this host. */
export interface HostLock extends AsyncDisposable {
  readonly holder: ProcessIdentity;
}

const isHeld = (holder: Holder): boolean => !holder.released && holder.bootId === readBootId() && identityLives(holder);

const readHolder = async (path: string): Promise<Holder | null> => {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Holder;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    if (error instanceof SyntaxError) return { pid: 0, startTicks: 0, bootId: "", released: true };
    throw error;
  }
};

const turns = async (directory: string): Promise<number[]> =>
  (await readdir(directory))
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
    .sort((a, b) => b - a);

const draft = async (directory: string, holder: Holder): Promise<string> => {
  const path = join(directory, `.${holder.pid}.${randomBytes(6).toString("hex")}`);
  await writeFile(path, JSON.stringify(holder), { mode: 0o600, flag: "wx" });
  return path;
};

/**
 * Takes the lock of `kind` below `directory`, or rejects STATE_CONFLICT naming the holder. It dies with the process:
 * the holder is known by pid and start time, so neither `kill -9` nor a reused pid leaves it taken.
 *
 * The directory holds numbered turns; the highest one rules. A contender whose highest turn is dead makes the next
 * number with link(2), which only one can, and gives way when a higher one appeared meanwhile (its own number may have
 * been swept away by that one's holder and so be free again). A turn is never removed by its own holder, only by a
 * higher one's: numbers never start again, so no late contender can believe in an old one.
 */
export const acquireHostLock = async (directory: string, kind: string): Promise<HostLock> => {
  const place = join(directory, kind);
  await mkdir(place, { recursive: true, mode: 0o700 });
  const self: Holder = { ...ownIdentity(), bootId: readBootId(), released: false };
  for (;;) {
    const [highest = 0] = await turns(place);
    const holder = highest === 0 ? null : await readHolder(join(place, String(highest)));
    if (highest !== 0 && holder === null) continue;
    if (holder !== null && isHeld(holder)) {
      throw fleetError(
        "STATE_CONFLICT",
        `Another ${kind} agent (pid ${holder.pid}) already serves this host; stop it first, or give this one its own state directory (BULKHEAD_STATE_DIR).`,
      );
    }
    const turn = highest + 1;
    const path = join(place, String(turn));
    const written = await draft(place, self);
    const won = await link(written, path).then(
      () => true,
      (error: unknown) => {
        if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
        throw error;
      },
    );
    await rm(written, { force: true });
    if (!won) continue;
    const [ruling = 0, ...older] = await turns(place);
    if (ruling !== turn) {
      await rm(path, { force: true });
      continue;
    }
    await Promise.all(older.map((number) => rm(join(place, String(number)), { force: true })));
    return {
      holder: self,
      [Symbol.asyncDispose]: async () => {
        await rename(await draft(place, { ...self, released: true }), path);
      },
    };
  }
};
