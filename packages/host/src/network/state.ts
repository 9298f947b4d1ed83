import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { AssignedNetwork, InstanceId, Isolation, type Bandwidth } from "@bulkhead/contracts";
import { Type, type Static } from "typebox";
import { Compile } from "typebox/compile";

/** One run's place in a network, as either agent of the host finds it again. */
export const Attachment = Type.Object({
  link: Type.String({ pattern: "^v[0-9a-f]{8}[A-Za-z0-9_-]{6}$" }),
  index: Type.Integer({ minimum: 1 }),
  isolation: Isolation,
  instanceId: InstanceId,
  /** names the run among its instance's */
  run: Type.String(),
  network: AssignedNetwork,
});
export type Attachment = Static<typeof Attachment>;

/** What a run asks for. */
export interface Connection {
  readonly instanceId: InstanceId;
  readonly run: string;
  readonly network: AssignedNetwork;
  readonly bandwidth: Bandwidth | undefined;
}

const check = Compile(Attachment);

/** Values of kernel settings as they were before the first network changed them, by path. */
export type SavedSettings = Readonly<Record<string, string>>;

const isMissing = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT";

/** The parsed file; undefined when it is not there (another agent removed it) or was cut by a crash. */
const readJson = async (path: string): Promise<unknown> => {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
};

/**
 * What a host remembers about its networks, per boot and shared by its agents: one file per attachment. Written before
 * the kernel is asked, removed after it forgot, so nothing in the kernel is without its file.
 */
export class NetworkState {
  readonly lock: string;
  readonly #attachments: string;
  readonly #saved: string;
  /** a file never changes: a run has one link, and a link one run */
  readonly #known = new Map<string, Attachment>();

  private constructor(runDir: string) {
    const directory = join(runDir, "network");
    this.lock = join(directory, "lock");
    this.#attachments = join(directory, "attachments");
    this.#saved = join(directory, "settings.json");
  }

  static async open(runDir: string): Promise<NetworkState> {
    const state = new NetworkState(runDir);
    await mkdir(state.#attachments, { recursive: true, mode: 0o700 });
    return state;
  }

  async attachments(): Promise<Attachment[]> {
    const names = (await readdir(this.#attachments)).filter((name) => !name.startsWith("."));
    const present = new Set(names);
    for (const name of this.#known.keys()) if (!present.has(name)) this.#known.delete(name);
    const unread = names.filter((name) => !this.#known.has(name));
    const values = await Promise.all(unread.map((name) => readJson(join(this.#attachments, name))));
    for (const [at, value] of values.entries()) if (check.Check(value)) this.#known.set(unread[at] ?? "", value);
    return [...this.#known.values()];
  }

  async put(attachment: Attachment): Promise<void> {
    const draft = join(this.#attachments, `.${attachment.link}`);
    await writeFile(draft, JSON.stringify(attachment), { mode: 0o600 });
    await rename(draft, join(this.#attachments, attachment.link));
  }

  async remove(link: string): Promise<void> {
    await rm(join(this.#attachments, link), { force: true });
  }

  /** Removes every attachment's file, also one that cannot be read. The lock's stays: others may wait for it. */
  async clear(): Promise<void> {
    for (const name of await readdir(this.#attachments)) await this.remove(name);
    this.#known.clear();
  }

  async savedSettings(): Promise<SavedSettings> {
    return ((await readJson(this.#saved)) ?? {}) as SavedSettings;
  }

  async saveSettings(settings: SavedSettings): Promise<void> {
    if (Object.keys(settings).length === 0) {
      await rm(this.#saved, { force: true });
      return;
    }
    const draft = `${this.#saved}.new`;
    await writeFile(draft, JSON.stringify(settings), { mode: 0o600 });
    await rename(draft, this.#saved);
  }
}
