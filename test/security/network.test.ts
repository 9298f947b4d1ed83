// CVE-2020-13401: a neighbour, or something on the bridge, says that it is the router and everybody's prefix is its own.
import { NetworkHost, networkOf } from "@bulkhead/namespaces/testing/network";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Stage } from "./stage.ts";

let stage: Stage;
let host: NetworkHost;

beforeAll(async () => {
  stage = await Stage.open();
  host = await NetworkHost.open(stage.rig, stage.image);
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await stage.rig.reopen();
  await stage.rig.clear();
  await stage.rig.refuseLeaks();
  await stage[Symbol.asyncDispose]();
});

const network = { id: "0190b5c0-0000-7000-8000-0000000000a7", number: 27 };
const idle = "exec sleep 1000";
const advertise = (link: string): string => `${stage.programs}/advertise ${link}`;
/** What an advertisement leaves: an address of its prefix, a route to it, a second way out. */
const learned = "ip -6 addr; ip -6 route | grep -v 'via fd00:27::1 '";
const mark = /2001:db8:bad|default|proto ra/;

test("an instance's advertisement reaches no other, and one from the bridge teaches them nothing", async () => {
  const victim = await host.start(idle, networkOf(network, 2));
  const bad = await host.start(idle, networkOf(network, 3));
  const gullible = await host.start(idle, networkOf(network, 4));
  // This one listens as a container would that nobody has told otherwise: were the attack none, it would show here.
  expect(await host.inside(gullible, "cat /proc/sys/net/ipv6/conf/eth0/accept_ra")).toBe("0");
  await host.inside(gullible, "echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_ra");

  expect(await host.inside(bad, advertise("eth0"))).toBe("sent");
  expect(await host.inside(gullible, learned)).not.toMatch(mark);

  const [, bridge = ""] = /master (\S+)/.exec(await host.sh("ip link")) ?? [];
  expect(await host.sh(advertise(bridge))).toBe("sent");
  await expect.poll(() => host.inside(gullible, learned), { timeout: 30_000 }).toMatch(mark);
  expect(await host.inside(victim, learned)).not.toMatch(mark);
  expect(await host.inside(victim, "ip -6 route | grep default")).toMatch(/^default via fd00:27::1 /);
});
