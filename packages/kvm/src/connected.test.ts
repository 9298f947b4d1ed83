import { once } from "node:events";
import { mkdtempDisposable } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { connected } from "./connected.ts";

test("a connection that fails before anybody hears of it ends nothing but itself", async () => {
  await using root = await mkdtempDisposable("/tmp/bulkhead-connected-");
  const path = join(root.path, "socket");
  const server = createServer((socket) => socket.destroy()).listen(path);
  await once(server, "listening");
  const socket = await connected(connect(path));
  // What the kernel says of a queue that its listener has left.
  const thrown = () => socket.emit("error", Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }));
  expect(thrown).not.toThrow();
  socket.destroy();
  server.close();
});
