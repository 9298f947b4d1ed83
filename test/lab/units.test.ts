// The units of infra/systemd on a Debian host: what they run ends, dies and comes back, and what runs on the host does not.
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkout, commandsBelow, FleetHost, patientMs } from "./fleet-host.ts";

const unit = "bulkhead-container-node";

/** Beside the one that `up` keeps, on the same machine, so with directories of its own. */
const settings = `BULKHEAD_API_URL=http://127.0.0.1:7480
BULKHEAD_JOIN_TOKEN_FILE=/etc/bulkhead/join-token
BULKHEAD_HOST_NAME=kept-by-systemd
BULKHEAD_STATE_DIR=/var/lib/bulkhead/by-systemd
BULKHEAD_RUN_DIR=/run/bulkhead-by-systemd`;

let host: FleetHost;

beforeAll(async () => {
  const image = await busyboxImage();
  host = await FleetHost.boot();
  await host.up();
  await host.typed(`mkdir -p /opt/bulkhead /etc/bulkhead && mount --bind '${checkout}' /opt/bulkhead`);
  await host.typed(`umask 077 && echo '${settings}' > /etc/bulkhead/agent.env`);
  await host.typed("umask 077 && bulkhead tokens create 'new hosts' --role join > /etc/bulkhead/join-token");
  await host.until("bulkhead hosts | grep -q ' ready '");
  await host.typed("bulkhead hosts cordon $(uname -n)");
  await host.typed(`bulkhead images import '${image}' --name busybox`);
}, 4 * patientMs);
afterAll(() => host[Symbol.asyncDispose]());

/** The pid of the instance's program, when it began, and its cgroup. */
const program = () =>
  host.typed("pid=$(pgrep -fx 'sleep 98765') && echo $pid $(cut -d' ' -f22 /proc/$pid/stat) && cat /proc/$pid/cgroup");

test("a host is joined by what its page says to type", { timeout: 2 * patientMs }, async () => {
  for (const command of commandsBelow("infra/systemd/README.md", "# systemd units")) {
    await host.typed(`cd /opt/bulkhead && ${command}`);
  }
  await host.until("bulkhead hosts | grep -q '^kept-by-systemd *ready '");
  await host.typed("bulkhead run busybox --name kept -- sleep 98765");
  await host.until("bulkhead ps | grep -q '^kept-0 *running *kept-by-systemd '");
  expect(await program()).toMatch(/\/bulkhead\//);
});

test.each([
  ["is restarted", `systemctl restart ${unit}`],
  ["is killed", `systemctl kill --signal=KILL ${unit}`],
  ["is stopped and started", `systemctl stop ${unit} && pgrep -fx 'sleep 98765' && systemctl start ${unit}`],
])(
  "an agent that %s takes nothing along, and the next one has all of it",
  { timeout: patientMs },
  async (_, command) => {
    const before = await program();
    const agent = await host.typed(`systemctl show --value -p MainPID ${unit}`);
    await host.typed(command);
    await host.until(`[ $(systemctl show --value -p MainPID ${unit}) -gt 0 ]`);
    expect(await host.typed(`systemctl show --value -p MainPID ${unit}`)).not.toBe(agent);
    await host.until("bulkhead exec kept true");
    expect(await host.typed("bulkhead ps")).toMatch(/^kept-0 +running +kept-by-systemd /m);
    expect(await program()).toBe(before);
  },
);

test("what is removed is gone with its cgroups, and the agent stops at once", { timeout: patientMs }, async () => {
  const [, cgroup = ""] = /^0::(.*)$/m.exec(await program()) ?? [];
  await host.typed(`[ -d '/sys/fs/cgroup${cgroup}' ]`);
  await host.typed("bulkhead rm kept");
  await host.until(`[ ! -e '/sys/fs/cgroup${cgroup}' ]`);
  await host.typed(`systemctl stop ${unit}`);
  expect(await host.typed(`systemctl show --value -p Result ${unit}`)).toBe("success\n");
});
