import { assert, asyncProperty, uint8Array } from "fast-check";
import { expect, test } from "vitest";
import { answering, guestThat, number } from "../testing/fake-guest.ts";
import { encodeFrame } from "./frames.ts";
import { becomeInGuest, freezeGuest, thawGuest } from "./orders.ts";

test("orders are carried out when the guest says so", async () => {
  await using guest = await answering(0);
  await freezeGuest(await guest.channel());
  await thawGuest(await guest.channel());
  const identity = { hostname: "copy-1", network: undefined, machineId: "00112233445566778899aabbccddeeff" };
  await becomeInGuest(await guest.channel(), identity);
  await becomeInGuest(await guest.channel(), identity);
  expect(guest.heard.map(({ type }) => type)).toEqual([64, 65, 66, 66]);
  const [first, second] = guest.heard.slice(2).map(({ payload }) => payload);
  // Never the same randomness twice, and then the words of native/guest/src/settings.h.
  expect(first?.subarray(0, 64).equals(second?.subarray(0, 64) ?? Buffer.alloc(0))).toBe(false);
  expect(first?.subarray(64).toString().split("\0")).toEqual([
    "hostname=copy-1",
    expect.stringMatching(/^hosts=[^]*copy-1/),
    expect.stringMatching(/^resolv\.conf=/),
    "machine-id=00112233445566778899aabbccddeeff",
    "",
    "",
  ]);
});

test.each([
  [16, "SNAPSHOT_UNSUPPORTED", /has left the instance's cgroup/],
  [110, "SNAPSHOT_UNSUPPORTED", /does not stop/],
  [95, "SNAPSHOT_UNSUPPORTED", /keeps no cgroup/],
  [5, "RUNTIME_FAILED", /could not keep its processes still: EIO/],
])("errno %i of a guest that does not freeze is told as what it means", async (errno, code, message) => {
  await using guest = await answering(errno);
  const refused = freezeGuest(await guest.channel());
  await expect(refused).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
});

test("a connection ends with its last order, and takes no other", async () => {
  await using guest = await answering(0);
  const channel = await guest.channel();
  await freezeGuest(channel);
  await expect(thawGuest(channel)).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
  expect(guest.heard.map(({ type }) => type)).toEqual([64]);
});

test("a guest that goes away before it answers has not done it", async () => {
  await using guest = await guestThat((_frame, socket) => socket.destroy());
  await expect(thawGuest(await guest.channel())).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
});

test("whatever a guest answers, an order ends as carried out or as an error of ours", async () => {
  const answers = uint8Array({ maxLength: 12 }).filter((each) => !Buffer.from(each).equals(number(0)));
  await assert(
    asyncProperty(answers, async (payload) => {
      await using guest = await guestThat(({ type, stream }, socket) =>
        socket.write(encodeFrame(type, stream, Buffer.from(payload))),
      );
      await expect(thawGuest(await guest.channel())).rejects.toMatchObject({
        code: "RUNTIME_FAILED",
        message: expect.stringMatching(/^[\x20-\x7e]*$/) as string,
      });
    }),
    { numRuns: 40 },
  );
});
