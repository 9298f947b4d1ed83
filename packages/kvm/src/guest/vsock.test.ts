import { once } from "node:events";
import { mkdtempDisposable } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { connectVsock } from "./vsock.ts";

/** A monitor's socket whose answer to every connection is `answer`, or its end. */
const monitorOf = async (answer: string | null) => {
  const directory = await mkdtempDisposable("/tmp/bulkhead-vsock-");
  const asked: string[] = [];
  const server = createServer((socket) => {
    socket
      .on("error", () => undefined)
      .once("data", (bytes) => {
        asked.push(bytes.toString());
        if (answer === null) socket.end();
        else socket.write(answer);
      });
  }).listen(join(directory.path, "vsock"));
  await once(server, "listening");
  return {
    place: { directory: directory.path, name: "vsock" },
    asked,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await directory[Symbol.asyncDispose]();
    },
  };
};

test("a port inside a machine is asked for, and what follows the answer is the guest's", async () => {
  await using monitor = await monitorOf("OK 1073741824\nhello");
  const socket = await connectVsock(monitor.place, 1024);
  const [bytes] = (await once(socket, "data")) as [Buffer];
  expect(bytes.toString()).toBe("hello");
  expect(monitor.asked).toEqual(["CONNECT 1024\n"]);
  socket.destroy();
});

test.each([null, "NO\n", "OK x\n", "an answer that never comes to its end"])("%j is no connection", async (answer) => {
  await using monitor = await monitorOf(answer);
  await expect(connectVsock(monitor.place, 1024)).rejects.toThrow(/nobody listens|refused|is none/);
});
