import { mkdtemp, readdir, readFile, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openLeasePage } from "./lease-page.ts";
import { directoryStorage } from "./storage.ts";

const temporary = async () => {
  const path = await mkdtemp(join(tmpdir(), "bulkhead-node-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
};
const bytes = (text: string): Uint8Array => Buffer.from(text);

describe("state directory", () => {
  test("what is not there is null", async () => {
    await using dir = await temporary();
    expect(await directoryStorage(dir.path).read("a/b")).toBeNull();
  });

  test("replace leaves one file, readable by its owner alone", async () => {
    await using dir = await temporary();
    const storage = directoryStorage(dir.path);
    await storage.replace("epochs/x.log", bytes("one"));
    await storage.replace("epochs/x.log", bytes("two"));
    expect(await readFile(join(dir.path, "epochs/x.log"), "utf8")).toBe("two");
    expect(await readdir(join(dir.path, "epochs"))).toEqual(["x.log"]);
    expect((await stat(join(dir.path, "epochs/x.log"))).mode & 0o777).toBe(0o600);
  });

  test("append goes on after what is there", async () => {
    await using dir = await temporary();
    const storage = directoryStorage(dir.path);
    for (const text of ["one ", "two ", "three"]) {
      const file = await storage.open("journal/x.log");
      await file.append(bytes(text));
      await file.close();
    }
    expect(await readFile(join(dir.path, "journal/x.log"), "utf8")).toBe("one two three");
  });

  test("an append that fails leaves nothing behind it", async () => {
    await using dir = await temporary();
    await symlink("/dev/full", join(dir.path, "x.log"));
    const file = await directoryStorage(dir.path).open("x.log");
    await expect(file.append(bytes("lost"))).rejects.toThrow("ENOSPC");
    await file.close();
  });

  test("a directory that cannot be read is an error, not an empty one", async () => {
    await using dir = await temporary();
    await expect(directoryStorage(dir.path).read(".")).rejects.toThrow("EISDIR");
  });
});

describe("lease page", () => {
  const read = async (path: string) => {
    const page = await readFile(path);
    return {
      length: page.length,
      magic: page.readBigUInt64LE(0),
      at: page.readBigUInt64LE(8),
      term: page.readBigUInt64LE(16),
    };
  };
  const magic = 0x4255_4c4b_4c45_4153n;

  test("has the layout that shims map, is written in place, and is found again", async () => {
    await using dir = await temporary();
    const path = join(dir.path, "run/lease.container");
    const page = openLeasePage(path);
    expect(await read(path)).toEqual({ length: 4096, magic, at: 0n, term: 0n });
    const { ino } = await stat(path);
    page.write({ renewedAtNs: 12_345_678_901n, term: 7n });
    page.close();
    expect(await read(path)).toEqual({ length: 4096, magic, at: 12_345_678_901n, term: 7n });
    const next = openLeasePage(path);
    expect(next.read()).toEqual({ renewedAtNs: 12_345_678_901n, term: 7n });
    expect((await stat(path)).ino).toBe(ino);
    next.close();
  });

  test("a page that is none is made one", async () => {
    await using dir = await temporary();
    const storage = directoryStorage(dir.path);
    await storage.replace("short", bytes("x"));
    await storage.replace("wrong", Buffer.alloc(4096, 1));
    for (const name of ["short", "wrong"]) {
      const page = openLeasePage(join(dir.path, name));
      expect(page.read()).toEqual({ renewedAtNs: 0n, term: 0n });
      page.close();
      expect(await read(join(dir.path, name))).toEqual({ length: 4096, magic, at: 0n, term: 0n });
    }
  });

  test("a link in its place is refused", async () => {
    await using dir = await temporary();
    await symlink("/dev/null", join(dir.path, "lease"));
    expect(() => openLeasePage(join(dir.path, "lease"))).toThrow("ELOOP");
  });
});
