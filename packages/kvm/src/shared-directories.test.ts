import type { AssignedShare, Assignment } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { encodeSettings } from "./guest/settings.ts";
import { admitShared, mountsInJail, sharedDirectories, sharedSockets, sharesInJail } from "./shared-directories.ts";

const share = (path: string, readOnly: boolean): AssignedShare => ({
  shareId: "0190b5c0-0000-7000-8000-0000000000c1",
  name: "data",
  kind: "directory",
  owner: { uid: 0, gid: 0 },
  mode: "0755",
  lifetime: "kept",
  path,
  readOnly,
});
const assignment = (shares: AssignedShare[], mounts: { hostPath: string; path: string; readOnly?: boolean }[]) =>
  ({ shares, spec: { image: "x", resources: { cpuMillis: 1, memoryBytes: 1 }, mounts } }) as unknown as Assignment;

test("what a machine sees stands in its monitor's jail in the same mode, and is told the guest by its name", () => {
  const given = assignment([share("/a", false), share("/b", true)], [{ hostPath: "/srv", path: "/c:d" }]);
  expect(sharesInJail(given).map(({ path, readOnly }) => [path, readOnly])).toEqual([
    ["/shares/share0", false],
    ["/shares/share1", true],
  ]);
  expect(mountsInJail(given)).toEqual([{ hostPath: "/srv", path: "/shares/mount0" }]);
  const shared = sharedDirectories(given);
  const process = { args: ["x"], env: [], cwd: "/", user: "0" };
  const words = encodeSettings({
    process,
    hostname: "x",
    network: undefined,
    pidsMax: 1,
    tmpfs: [],
    shared,
    sockets: [],
  });
  const told = words
    .toString()
    .split("\0")
    .filter((word) => word.startsWith("share="));
  expect(told).toEqual(["share=share0:rw:/a", "share=share1:ro:/b", "share=mount0:ro:/c:d"]);
});

test("a share of sockets is no directory of the jail's that is served, and the guest is told how to make its own", () => {
  const sockets = {
    ...share("/s:t", false),
    kind: "socket-directory" as const,
    mode: "1777",
    owner: { uid: 7, gid: 8 },
  };
  const given = assignment([sockets, share("/b", true), { ...sockets, path: "/u", readOnly: true }], []);
  expect(sharedDirectories(given).map(({ tag }) => tag)).toEqual(["share1"]);
  const process = { args: ["x"], env: [], cwd: "/", user: "0" };
  const plain = { process, hostname: "x", network: undefined, pidsMax: 1, tmpfs: [], shared: [] };
  const words = encodeSettings({ ...plain, sockets: sharedSockets(given) })
    .toString()
    .split("\0");
  expect(words.filter((word) => word.startsWith("sockets="))).toEqual([
    "sockets=1777:7:8:rw:/s:t",
    "sockets=1777:7:8:ro:/u",
  ]);
});

test("what is no directory, and more than a machine has places for, is refused", () => {
  const many = Array.from({ length: 9 }, (_, at) => ({ hostPath: "/", path: `/${at}` }));
  expect(() => admitShared(assignment([], many))).toThrow("at most 8");
  expect(() => admitShared(assignment([], many.slice(1)))).not.toThrow();
  const file = import.meta.filename;
  expect(() => admitShared(assignment([], [{ hostPath: file, path: "/x" }]))).toThrow("is a file");
  const memory = { ...share("/dev/shm", false), kind: "shared-memory" as const };
  expect(() => admitShared(assignment([memory], []))).toThrow("of kind shared-memory");
});
