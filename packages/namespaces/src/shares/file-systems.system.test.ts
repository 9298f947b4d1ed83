// File systems on loop devices, on a host that has none.
import { execFile } from "node:child_process";
import { mkdtempDisposable } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);

/** In a mount namespace of its own, whose kernel seems to have no loop devices. */
const withoutLoopDevices = `
  grep -v loop /proc/devices > "$1/devices" && mount --bind "$1/devices" /proc/devices &&
  mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec "$0" --input-type=module --eval "$2"`;

test("a file system that has a size is refused with what the host lacks, and what to do", async () => {
  await using directory = await mkdtempDisposable("/tmp/bulkhead-loop-");
  const { path } = directory;
  const program = `
    import { makeImage, mountImage } from ${JSON.stringify(join(import.meta.dirname, "file-systems.ts"))};
    await makeImage("${path}/image", 8 * 2 ** 20);
    await mountImage("${path}/image", "${path}/data").catch(({ message }) => console.log(message));`;
  const { stdout } = await run("unshare", ["--mount", "sh", "-c", withoutLoopDevices, process.execPath, path, program]);
  expect(stdout.trim()).toBe(
    "this host's kernel has no loop devices, which whatever has a size is kept on: load its module with `modprobe loop`, or leave the size out",
  );
});
