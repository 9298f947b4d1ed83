import { expect, test } from "vitest";
import * as fc from "fast-check";
import type { Attachment } from "../network/state.ts";
import { decide, NetworkZone } from "./names.ts";
import { parseResolvers } from "./forward.ts";

const attachment = (member: number, names: string[], internal = false): Attachment =>
  ({
    link: `v0badcafe00000${member}`,
    index: member,
    isolation: "container",
    instanceId: "0190b5c0-0000-7000-8000-000000000001",
    run: "1.1.0",
    network: {
      networkId: "0190b5c0-0000-7000-8000-000000000002",
      name: "n",
      mtu: 1500,
      internal,
      mac: "02:00:00:00:00:01",
      ipv4: { address: `10.0.0.${member}`, prefix: 24, gateway: "10.0.0.1" },
      ipv6: null,
      ports: [],
      names,
    },
  }) as unknown as Attachment;

const zone = new NetworkZone([attachment(2, ["web-0", "web"]), attachment(3, ["web-1", "web"])]);

const query = (name: string, type: number): Buffer => {
  const labels = name.split(".").map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  const tail = Buffer.from([0, 0, type, 0, 1]);
  return Buffer.concat([Buffer.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), ...labels, tail]);
};
const answered = (name: string, type = 1): { code: number; answers: number; bytes: Buffer } => {
  const outcome = decide(zone, query(name, type), true);
  if (outcome === null || !("answer" in outcome)) throw new Error("no answer");
  const bytes = outcome.answer;
  return { code: bytes.readUInt16BE(2) & 15, answers: bytes.readUInt16BE(6), bytes };
};

test("a workload's name has every instance's address, an instance's its own, whatever the case", () => {
  expect(answered("WEB")).toMatchObject({ code: 0, answers: 2 });
  expect([...answered("web-1").bytes.subarray(-4)]).toEqual([10, 0, 0, 3]);
  expect(answered("web", 28)).toMatchObject({ code: 0, answers: 0 });
});

test("a name without a dot that is not of the network does not exist; one with a dot is for others", () => {
  expect(answered("gone")).toMatchObject({ code: 3, answers: 0 });
  expect(decide(zone, query("debian.org", 1), true)).toHaveProperty("forward");
  const inner = new NetworkZone([attachment(2, ["a"], true)]);
  expect(decide(inner, query("debian.org", 1), true)).toHaveProperty("answer");
});

test("only members may ask", () => {
  expect(["10.0.0.2", "::ffff:10.0.0.3", "10.0.0.1", "127.0.0.1"].map((from) => zone.mayAsk(from))).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

test("no bytes make it fail, and an answer is never answered", () => {
  expect(decide(zone, Buffer.alloc(0), true)).toBeNull();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const outcome = decide(zone, Buffer.from(bytes), true);
      const silent = bytes.length < 12 || ((bytes[2] ?? 0) & 0x80) !== 0;
      expect(outcome === null).toBe(silent);
    }),
  );
});

test("resolvers are read as resolv.conf has them", () => {
  expect(
    parseResolvers("# nameserver 9.9.9.9\nnameserver 10.0.0.53\nnameserver\tfd00::53\nnameserver nonsense\n"),
  ).toEqual(["10.0.0.53", "fd00::53"]);
});
