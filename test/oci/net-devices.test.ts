// linux.netDevices, in a network namespace that stands for the host's: what is moved, renamed, and given back.
import { expect, test } from "vitest";
import { type Config, execute, type Finished, Place, runtimePath } from "./runtime.ts";

/** Runs a script where `d0` is one end of a veth pair with two addresses, and `RUN` is the runtime. */
const onHost = (place: Place, script: string): Promise<Finished> =>
  execute("unshare", [
    "--net",
    "sh",
    "-c",
    `set -e
ip link set lo up
ip link add name d0 type veth peer name p0
ip link set p0 up
ip address add 10.99.0.1/24 broadcast 10.99.0.255 dev d0
ip link set d0 up
ip address add fd99::1/64 dev d0 nodad
set +e
RUN="${runtimePath} --root ${place.root}"
${script}`,
  ]);

const withDevices = (place: Place, args: string[], devices: object, change: (config: Config) => void = () => {}) =>
  place.bundle(args, (config) => {
    config.linux["netDevices"] = devices;
    change(config);
  });

const show = ["busybox", "ip", "address", "show"];
/** Permanent addresses and state in `ip address` of any make. */
const summary = (text: string) => ({
  up: /<[^>]*\bUP\b/.test(text),
  addresses: [...text.matchAll(/inet6? (\S+)(?: brd (\S+))?.*scope global/g)].map(([, address, broadcast]) =>
    broadcast === undefined ? address : `${address} ${broadcast}`,
  ),
});
const whole = { up: true, addresses: ["10.99.0.1/24 10.99.0.255", "fd99::1/64"] };

test("a device moves with its addresses, by its new name, and is up", async () => {
  await using place = new Place();
  const bundle = withDevices(place, [...show, "dev", "eth7"], { d0: { name: "eth7" } });
  const { status, stdout, stderr } = await onHost(place, `$RUN run --bundle ${bundle} one; echo; ip link show d0`);
  expect(summary(stdout)).toEqual(whole);
  expect(stdout).toMatch(/eth7@/);
  // The pair ends with the container's namespace, as the kernel has it for virtual devices.
  expect({ status: status !== 0, stderr }).toEqual({ status: true, stderr: expect.stringContaining("d0") });
});

test("a name may be a pattern, and without one it stays", async () => {
  await using place = new Place();
  const pattern = withDevices(place, show, { d0: { name: "net%d" } });
  expect((await onHost(place, `$RUN run --bundle ${pattern} one`)).stdout).toMatch(/ net0@/);
  const kept = withDevices(place, [...show, "dev", "d0"], { d0: {} });
  expect(summary((await onHost(place, `$RUN run --bundle ${kept} two`)).stdout)).toEqual(whole);
});

test("a namespace that is there already takes the device too", async () => {
  await using place = new Place();
  const bundle = withDevices(place, [...show, "dev", "eth7"], { d0: { name: "eth7" } }, (config) => {
    for (const space of config.linux.namespaces) if (space.type === "network") space.path = "/proc/SLEEPER/ns/net";
  });
  const { status, stdout } = await onHost(
    place,
    `unshare --net sleep 1000 & sleeper=$!
until [ "$(readlink /proc/$sleeper/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do :; done
sed -i "s/SLEEPER/$sleeper/" ${bundle}/config.json
$RUN run --bundle ${bundle} one; status=$?
kill $sleeper
exit $status`,
  );
  expect({ status, ...summary(stdout) }).toEqual({ status: 0, ...whole });
});

test.for([
  ["a program that is missing", ["nothere"], { d0: { name: "eth7" } }, /executable file not found/],
  [
    "a second device that is missing",
    ["true"],
    { d0: {}, nothere: {} },
    /linux.netDevices: find nothere: No such device/,
  ],
  ["a name that is taken", ["true"], { d0: { name: "lo" } }, /linux.netDevices: rename lo: File exists/],
] as const)("%s gives the device back as it was", async ([, args, devices, reason], { expect }) => {
  await using place = new Place();
  const bundle = withDevices(place, [...args], devices);
  const { stdout, stderr } = await onHost(place, `$RUN run --bundle ${bundle} one; ip address show dev d0`);
  expect(stderr.replaceAll('\\"', '"')).toMatch(reason);
  expect(summary(stdout)).toEqual(whole);
  expect(await place.must(["list", "--quiet"])).toBe("");
});

test("what is no device, and a container without a network of its own, is refused before anything is done", async () => {
  await using place = new Place();
  const cases: [object, RegExp, ((config: Config) => void)?][] = [
    [{ "a/b": {} }, /netDevices\/a~1b is no name of a network device/],
    [{ d0: { name: "far-too-long-name" } }, /netDevices\/d0\/name is no name of a network device/],
    [{ d0: [] }, /netDevices\/d0 must be an object/],
    [
      { d0: {} },
      /has no network namespace of its own/,
      (config) => (config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== "network")),
    ],
    [
      { d0: {} },
      /to the host's own network/,
      (config) => {
        for (const space of config.linux.namespaces) if (space.type === "network") space.path = "/proc/self/ns/net";
      },
    ],
  ];
  for (const [devices, reason, change] of cases) {
    const bundle = withDevices(place, ["true"], devices, change);
    const { stdout, stderr } = await onHost(place, `$RUN run --bundle ${bundle} one; ip address show dev d0`);
    expect(stderr).toMatch(reason);
    expect(summary(stdout)).toEqual(whole);
  }
});
