/**
 * What a machine's monitor needs beside its guest's RAM, which `overheadBytes` of packages/kvm/src/engine must cover: the
 * most that its processes held of memory that nobody can take away (anonymous, shared and page tables; a disk's page cache
 * can be), while the guest fills its RAM, writes its disk, starts programs and floods its log. Machines of two sizes, so
 * that what grows with the RAM is told from what does not. The engine that the host's machines are tested with.
 */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { busyboxImage } from "@bulkhead/testkit/images";
import { MachineRig, engine, sharedParts } from "../../apps/vm-node/src/testing/machine-rig.ts";
import { printFigures, printTable } from "./report.ts";

const mebibyte = 2 ** 20;
const sizesMib = [192, 576] as const;
/** What a guest keeps of its RAM for its kernel and the programs that load it, in MiB. */
const spareMib = 96;
/** A machine is under load for so long. */
const loadMs = 60_000;
/** What is published is at least this much more than what was measured: no load is the worst one. */
const headroom = 1.25;

const load = [
  "dd if=/dev/zero of=/ram/fill bs=1M 2> /dev/null",
  "while :; do cat /dev/zero | head -c 4G | tail > /dev/null; done &",
  "while :; do dd if=/dev/zero of=/fill bs=1M count=200 2> /dev/null; sync; rm /fill; done &",
  "while :; do seq 2000; /bin/true; done",
].join("\n");

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

const kib = (text: string, name: string): number =>
  Number(new RegExp(`^${name}: +(\\d+) kB`, "m").exec(text)?.[1] ?? 0);

/** Bytes of a process that stay, but for its largest mapping, which is the guest's RAM where there is a guest. */
const heldBytes = (pid: string, guestBytes: number): { own: number; guest: number } => {
  let [own, guest] = [kib(read(`/proc/${pid}/status`), "VmPTE") * 1024, 0];
  for (const mapping of read(`/proc/${pid}/smaps`).split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)) {
    const bytes = (kib(mapping, "Anonymous") + (mapping.includes("memfd:") ? kib(mapping, "Rss") : 0)) * 1024;
    if (kib(mapping, "Size") * 1024 >= guestBytes) guest += bytes;
    else own += bytes;
  }
  return { own, guest };
};

/** Processes of an instance: the monitor, and who guards it. */
const processesOf = (instanceId: string): string[] =>
  readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && read(join("/proc", pid, "cgroup")).includes(instanceId));

const shared = await sharedParts(await busyboxImage());

interface Peak {
  readonly own: number;
  /** how much of its RAM the guest had touched: without all of it the figure says little */
  readonly guest: number;
}

const peakOf = async (memoryMib: number): Promise<Peak> => {
  await using rig = await MachineRig.open(shared);
  const assignment = rig.assignment({
    command: ["sh", "-c", load],
    tmpfs: [{ path: "/ram", sizeBytes: (memoryMib - spareMib) * mebibyte }],
    resources: { cpuMillis: 2000, memoryBytes: memoryMib * mebibyte },
  });
  const run = await rig.start(assignment);
  let peak: Peak = { own: 0, guest: 0 };
  for (const until = performance.now() + loadMs; performance.now() < until; await delay(200)) {
    const held = processesOf(assignment.instanceId).map((pid) => heldBytes(pid, memoryMib * mebibyte));
    const own = held.reduce((sum, each) => sum + each.own, 0);
    const guest = held.reduce((sum, each) => sum + each.guest, 0);
    peak = { own: Math.max(peak.own, own), guest: Math.max(peak.guest, guest) };
  }
  await run.stop(0);
  return peak;
};

try {
  const [small, large] = [await peakOf(sizesMib[0]), await peakOf(sizesMib[1])];
  const perMib = Math.max(0, (large.own - small.own) / (sizesMib[1] - sizesMib[0]));
  const base = small.own - perMib * sizesMib[0];
  const { overheadBytes, overheadBytesPerMib } = engine.overhead;
  const touched = Math.min(small.guest / sizesMib[0], large.guest / sizesMib[1]) / mebibyte;
  printTable([
    [`${engine.name}: MiB`, "peak beside the RAM", "published for it", "RAM in use"],
    ...[small, large].map((peak, index) => {
      const mib = sizesMib[index] ?? 0;
      return [
        `a machine of ${mib}`,
        peak.own / mebibyte,
        (overheadBytes + overheadBytesPerMib * mib) / mebibyte,
        peak.guest / mebibyte,
      ];
    }),
  ]);
  const covered = [small, large].every(
    ({ own }, index) => own * headroom <= overheadBytes + overheadBytesPerMib * (sizesMib[index] ?? 0),
  );
  printFigures({
    bench: "vm-overhead",
    engine: engine.name,
    baseMib: base / mebibyte,
    perMibBytes: perMib,
    publishedMib: overheadBytes / mebibyte,
    publishedPerMibBytes: overheadBytesPerMib,
    touched,
    better: "lower",
    goal: `the published overhead is at least ${headroom} times the measured, with nine tenths of the RAM in use`,
    met: covered && touched >= 0.9,
  });
} finally {
  rmSync(shared.directory, { recursive: true, force: true });
}
