import { once } from "node:events";
import { chmod, chown, mkdtempDisposable, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SocketDirectory } from "./socket-directory.ts";

/** A directory in which a server that says who it is listens at each of `names`. */
const directoryWith = async (names: readonly string[]) => {
  const root = await mkdtempDisposable("/tmp/bulkhead-sockets-");
  const servers: Server[] = [];
  for (const name of names) {
    const server = createServer((socket) => socket.end(name)).listen(join(root.path, name));
    await once(server, "listening");
    servers.push(server);
  }
  return {
    path: root.path,
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) server.close();
      await root[Symbol.asyncDispose]();
    },
  };
};

const firstOf = async (directory: SocketDirectory, name: string): Promise<string> => {
  const socket = await directory.connect(name);
  const [bytes] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  return String(bytes);
};

test("sockets are found, and nothing that leads to one or has no name of one", async () => {
  await using made = await directoryWith(["b", "a"]);
  await symlink("a", join(made.path, "link"));
  await writeFile(join(made.path, "file"), "");
  await chmod(join(made.path, "a"), 0o640);
  const directory = new SocketDirectory(made.path);
  const found = await directory.list();
  expect(found.map(({ name }) => name)).toEqual(["a", "b"]);
  expect(found[0]?.mode).toBe(0o640);
  expect(await firstOf(directory, "a")).toBe("a");
  await expect(directory.connect("link")).rejects.toThrow("link is no socket");
  await expect(directory.connect("file")).rejects.toThrow("file is no socket");
  await expect(directory.connect("absent")).rejects.toMatchObject({ code: "ENOENT" });
  for (const name of [".", "..", "../a", "./a", "", "a\0", "x".repeat(101)]) {
    await expect(directory.connect(name)).rejects.toThrow("no name of a socket");
  }
});

test("a directory that is a link is none", async () => {
  await using made = await directoryWith(["a"]);
  await symlink(made.path, join(made.path, "in"));
  const directory = new SocketDirectory(join(made.path, "in"));
  await expect(directory.list()).rejects.toMatchObject({ code: "ENOTDIR" });
  await expect(directory.connect("a")).rejects.toMatchObject({ code: "ENOTDIR" });
});

test.skipIf(process.getuid?.() !== 0)("what nobody of an instance owns is for whom it lets in", async () => {
  await using made = await directoryWith(["a"]);
  const path = join(made.path, "a");
  await chown(path, 0x1000_0000, 0x1000_0000);
  await chmod(path, 0o770);
  const directory = new SocketDirectory(made.path);
  expect(await directory.list()).toEqual([{ name: "a", mode: 0o770, uid: 65_534, gid: 65_534 }]);
  await expect(directory.connect("a")).rejects.toThrow("not for all");
  await chmod(path, 0o772);
  expect(await firstOf(directory, "a")).toBe("a");
});
