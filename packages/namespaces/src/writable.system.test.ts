// `container.writable`: Landlock below everything else that an instance is held by, at its start and for what joins it.
import { text } from "node:stream/consumers";
import type { Digest } from "@bulkhead/contracts";
import type { Run } from "@bulkhead/node";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage({ users: { app: 1234 } }));
});
afterEach(async () => {
  await rig.clear();
  await rig.refuseLeaks();
});
afterAll(() => rig[Symbol.asyncDispose]());

type Changes = Parameters<Rig["assignment"]>[1];

const tries = `
attempt() { name=$1; shift; "$@" 2>/dev/null && echo "$name yes" || echo "$name no"; }
attempt inside touch /tmp/made
attempt null sh -c 'echo x >/dev/null'
attempt read sh -c 'cat /etc/passwd >/dev/null'
attempt outside touch /etc/made
attempt change sh -c 'echo x >>/etc/passwd'
attempt mount mount -t tmpfs none /mnt
attempt unmount umount /proc/keys
`;
const confined = "inside yes\nnull yes\nread yes\noutside no\nchange no\nmount no\nunmount no\n";

const joined = async (run: Run, script: string): Promise<string> => {
  const session = await run.exec({ command: ["sh", "-c", script], tty: false });
  session.stdin.end();
  return text(session.stdout);
};

test.for<[string, Changes]>([
  ["root", {}],
  ["a user", { user: "app" }],
  ["root who may mount", { capabilities: ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_CHOWN"] } as Changes],
])("%s writes where it may alone, in its program and in an exec, and the view says so", async ([, changes]) => {
  const { capabilities, ...others } = changes as { capabilities?: string[] };
  const container = { writable: ["/tmp"], ...(capabilities === undefined ? {} : { capabilities }) };
  const script = `chmod 1777 /tmp 2>/dev/null; ${tries} exec sleep 1000`;
  const assignment = rig.assignment(busybox, { command: ["sh", "-c", script], container, ...others });
  const run = await rig.start(assignment);
  await expect.poll(() => rig.output(run)).toBe(confined);
  expect(await joined(run, tries)).toBe(confined);
  expect((await run.view("plan")).security.writable).toEqual(["/tmp"]);
});

test("an empty list writes nowhere, none at all is not confined", async () => {
  const nowhere = await rig.start(rig.assignment(busybox, { command: ["sleep", "1000"], container: { writable: [] } }));
  const script = "touch /tmp/made 2>/dev/null && echo yes || echo no";
  expect(await joined(nowhere, script)).toBe("no\n");
  expect((await nowhere.view("plan")).security.writable).toEqual([]);
  const free = await rig.start(rig.assignment(busybox, { command: ["sleep", "1000"] }));
  expect(await joined(free, script)).toBe("yes\n");
  expect((await free.view("plan")).security.writable).toBeNull();
});

test("a place that the image has not is WritableUnusable", async () => {
  const start = rig.start(
    rig.assignment(busybox, { command: ["true"], container: { writable: ["/tmp", "/nowhere"] } }),
  );
  await expect(start).rejects.toMatchObject({
    reason: "WritableUnusable",
    message: expect.stringContaining('"/nowhere" cannot be a place to write in (ENOENT)'),
  });
});
