import { execFileSync } from "node:child_process";
import { mkdtempDisposable } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Digest } from "@bulkhead/contracts";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "./testing/rig.ts";

const EPERM = 1;
const ENOSYS = 38;
const EAFNOSUPPORT = 97;

let rig: Rig;
let image: Digest;

beforeAll(async () => {
  rig = await Rig.open();
  await using directory = await mkdtempDisposable("/tmp/bulkhead-forbidden-");
  const program = join(directory.path, "forbidden");
  execFileSync("g++", [
    "-x",
    "c",
    "-std=gnu17",
    "-O1",
    "-static",
    "-o",
    program,
    join(import.meta.dirname, "testing/forbidden.c"),
  ]);
  image = await rig.image(await busyboxImage({ files: { "/forbidden": { hostPath: program, mode: 0o755 } } }));
});
afterAll(() => rig[Symbol.asyncDispose]());

const answers = async (capabilities?: string[]): Promise<Record<string, number>> => {
  const { output } = await rig.run(
    rig.assignment(image, {
      command: ["/forbidden"],
      ...(capabilities === undefined ? {} : { container: { capabilities } }),
    }),
  );
  return Object.fromEntries(
    output
      .trim()
      .split("\n")
      .map((line) => line.split(" "))
      .map(([name = "", errno]) => [name, Number(errno)]),
  );
};

test("the kernel refuses what the default profile leaves out, and nothing that programs need", async () => {
  expect(await answers()).toEqual({
    inet: 0,
    unix: 0,
    alg: EAFNOSUPPORT,
    "alg-high-bits": EAFNOSUPPORT,
    vsock: EAFNOSUPPORT,
    "vsock-high-bits": EAFNOSUPPORT,
    clone3: ENOSYS,
    "clone-newuser": EPERM,
    unshare: EPERM,
    setns: EPERM,
    mount: EPERM,
    bpf: EPERM,
    io_uring_setup: EPERM,
    userfaultfd: EPERM,
    keyctl: EPERM,
    init_module: EPERM,
    settimeofday: EPERM,
    perf_event_open: EPERM,
    "personality-query": 0,
    "personality-read-implies-exec": EPERM,
    "newer-than-the-profile": ENOSYS,
  });
});

test("a capability opens its own calls inside the instance's namespaces, and still no socket family", async () => {
  const opened = await answers(["CAP_SYS_ADMIN"]);
  expect(opened).toMatchObject({ unshare: 0, mount: 0, alg: EAFNOSUPPORT, keyctl: EPERM, init_module: EPERM });
});
