import { readdir, readFile, writeFile } from "node:fs/promises";
import type { NetworkState } from "./state.ts";

/** Settings of this process's own network namespace (proc_sys(5)). */
const root = "/proc/sys/net";

const isGone = (error: unknown): boolean =>
  error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "EINVAL");

const read = async (path: string): Promise<string | null> => {
  try {
    return (await readFile(`${root}/${path}`, "utf8")).trim();
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
};

/** Of a bridge that we made; they go with it. */
const ofBridge = (bridge: string): Record<string, string> => ({
  // What the host sends to 127.0.0.1 may leave by the bridge, for ports published there; the guard chain keeps
  // instances from using it in the other direction.
  [`ipv4/conf/${bridge}/route_localnet`]: "1",
  // A connection by way of a published port goes in and out by one bridge, which is right here.
  [`ipv4/conf/${bridge}/send_redirects`]: "0",
  [`ipv6/conf/${bridge}/accept_ra`]: "0",
  [`ipv6/conf/${bridge}/accept_dad`]: "0",
});

/** Sets what one bridge needs; what the kernel does not have (IPv6 turned off) is not needed. */
export const configureBridge = async (bridge: string): Promise<void> => {
  for (const [path, value] of Object.entries(ofBridge(bridge))) {
    await writeFile(`${root}/${path}`, value).catch((error: unknown) => {
      if (!isGone(error)) throw error;
    });
  }
};

/** Interfaces that learn their routes from advertisements stop doing so when the host forwards, unless told. */
const advertised = async (): Promise<Record<string, string>> => {
  const names = await readdir(`${root}/ipv6/conf`).catch(() => []);
  const wanted: Record<string, string> = {};
  for (const name of names) {
    const path = `ipv6/conf/${name}/accept_ra`;
    if (name !== "all" && name !== "lo" && (await read(path)) === "1") wanted[path] = "2";
  }
  return wanted;
};

/**
 * Makes the host forward between its networks and outside. What was different before is remembered first, so that a
 * crash in between loses nothing.
 */
export const enableForwarding = async (state: NetworkState, { ipv6 }: { readonly ipv6: boolean }): Promise<void> => {
  const wanted: Record<string, string> = { "ipv4/ip_forward": "1" };
  if (ipv6 && (await read("ipv6/conf/all/forwarding")) === "0") {
    Object.assign(wanted, await advertised(), { "ipv6/conf/all/forwarding": "1" });
  }
  const saved: Record<string, string> = { ...state.savedSettings() };
  const changes: [string, string][] = [];
  for (const [path, value] of Object.entries(wanted)) {
    const present = await read(path);
    if (present === null || present === value) continue;
    saved[path] ??= present;
    changes.push([path, value]);
  }
  if (changes.length === 0) return;
  state.saveSettings(saved);
  for (const [path, value] of changes) await writeFile(`${root}/${path}`, value);
};

/** Puts back what was found when the first network came; an interface that is gone needs nothing. */
export const restoreSettings = async (state: NetworkState): Promise<void> => {
  const saved = Object.entries(state.savedSettings());
  if (saved.length === 0) return;
  // Forwarding first: while it is on, lowering accept_ra would drop learned routes.
  saved.sort(([a], [b]) => Number(b.endsWith("forwarding")) - Number(a.endsWith("forwarding")));
  for (const [path, value] of saved) {
    await writeFile(`${root}/${path}`, value).catch((error: unknown) => {
      if (!isGone(error)) throw error;
    });
  }
  state.saveSettings({});
};
