/**
 * What a directory share costs a program: looking at a file, reading and writing it, in a container and in a VM, on the
 * share and on each one's own disk. In turns of all four, each with the others idle. Here the VM's processors are emulated,
 * so that its columns say how the share compares with its own disk, and nothing about hardware.
 */
import { join, resolve } from "node:path";
import { busyboxImage } from "@bulkhead/testkit/images";
import { startFleet } from "../fleet.ts";
import { median, printFigures, printTable } from "./report.ts";

const rounds = 7;
const kernels = join(resolve(import.meta.dirname, "../.."), "node_modules/.cache/bulkhead-guest-kernels");
const mebibytes = 16;
const looks = 3000;

/** Each prints how long `work` took, in hundredths of a second, by the kernel's own clock. */
const timed = (work: string): string =>
  `at() { cut -d " " -f 1 /proc/uptime | tr -d .; }; began=$(at); ${work}; ended=$(at); echo $((ended - began))`;

const rows = [
  {
    title: "look at a file, µs",
    work: (place: string) => `i=0; while [ $i -lt ${looks} ]; do [ -e ${place}/word ]; i=$((i+1)); done`,
    unit: (seconds: number) => (seconds / looks) * 1e6,
  },
  {
    title: "write 1 MiB at a time, MiB/s",
    work: (place: string) => `dd if=/dev/zero of=${place}/much bs=1M count=${mebibytes} 2>/dev/null`,
    unit: (seconds: number) => mebibytes / seconds,
  },
  {
    title: "read 1 MiB at a time, MiB/s",
    work: (place: string) => `dd if=${place}/much of=/dev/null bs=1M 2>/dev/null`,
    unit: (seconds: number) => mebibytes / seconds,
  },
] as const;

await using fleet = await startFleet({ BULKHEAD_KERNEL_DIR: kernels });
await fleet.importImage("busybox", await busyboxImage());
await fleet.http("POST", "/v1/shares", { body: { name: "data", spec: { kind: "directory", mode: "0777" } } });
const isolations = ["container", "vm"] as const;
for (const isolation of isolations) {
  await fleet.run(isolation, {
    isolation,
    image: "busybox",
    command: ["sh", "-c", "mkdir -p /own && echo x > /own/word && echo x > /share/word && exec sleep 100000"],
    resources: { cpuMillis: 500, memoryBytes: 256 * 2 ** 20 },
    shares: [{ share: "data", path: "/share", readOnly: false }],
  });
}

const sides = isolations.flatMap((isolation) =>
  ["/share", "/own"].map((place) => ({ isolation, place, name: `${isolation} ${place.slice(1)}` })),
);
const measured: Record<string, Record<string, number>> = {};
for (const { title, work, unit } of rows) {
  const samples = new Map(sides.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < rounds; round += 1) {
    for (const { isolation, place, name } of sides) {
      const { stdout } = await fleet.exec(`${isolation}-0`, ["sh", "-c", timed(work(place))]);
      // The clock counts hundredths; less than one is not seen.
      samples.get(name)?.push(unit(Math.max(1, Number(stdout)) / 100));
    }
  }
  measured[title] = Object.fromEntries([...samples].map(([name, values]) => [name, median(values)]));
}

printTable([
  ["", ...sides.map(({ name }) => name)],
  ...Object.entries(measured).map(([title, values]) => [title, ...sides.map(({ name }) => values[name] ?? 0)]),
]);
printFigures({ bench: "share-io", better: "lower", goal: "none: reported only", met: true, ...measured });
