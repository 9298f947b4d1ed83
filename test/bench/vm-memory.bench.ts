/**
 * Memory of a monitor beside its guest's RAM: proportional set size of every mapping but that one, with the devices of a
 * fleet's machine and a guest of five instructions, for one monitor and for each of twenty. Beside it QEMU's microvm on the
 * same KVM with the same devices, before its guest runs: it would not have less afterwards.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { printFigures, printTable } from "./report.ts";
import { buildMachineBench, helloGuest, monitorPath } from "./machine-bench.ts";

const many = 20;
const goalKib = 3072;
const guestMib = 128;

await buildMachineBench();
const directory = mkdtempSync("/tmp/bulkhead-vm-memory-");
const [kernel, disk] = [join(directory, "kernel"), join(directory, "disk")];
writeFileSync(kernel, await helloGuest());
writeFileSync(disk, "");
truncateSync(disk, 64 * 2 ** 20);

const kib = (mapping: string, name: string): number =>
  Number(new RegExp(`^${name}: +(\\d+) kB`, "m").exec(mapping)?.[1] ?? 0);

/** Of everything but the guest's RAM, which is the one mapping of its size that can be touched. */
const ownKib = (pid: number): number => {
  const mappings = readFileSync(`/proc/${pid}/smaps`, "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const isRam = (mapping: string): boolean => kib(mapping, "Size") === guestMib * 1024 && /^\S+ rw/.test(mapping);
  if (mappings.filter(isRam).length !== 1) throw new Error("not one mapping is the guest's RAM");
  return mappings.reduce((sum, mapping) => sum + (isRam(mapping) ? 0 : kib(mapping, "Pss")), 0);
};

const devices = ["block,file=", "block,readonly,file="].map((kind) => kind + disk);
const ours = async (): Promise<ChildProcess> => {
  const words = [...devices, "console,out=fd:2", "entropy", "balloon"].flatMap((device) => ["--device", device]);
  const child = spawn(monitorPath, ["--kernel", kernel, "--memory-mib", String(guestMib), ...words], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  // Its guest has said something.
  await once(child.stdout, "data");
  return child;
};

const qemu = async (): Promise<ChildProcess> => {
  const child = spawn(
    "qemu-system-x86_64",
    [
      [
        "-M",
        "microvm,x-option-roms=off,pit=off,pic=off,rtc=off,acpi=on,memory-backend=ram",
        "-accel",
        "kvm",
        "-cpu",
        // QEMU ends where KVM lists IA32_ARCH_CAPABILITIES and takes no value for it, as some software KVMs do.
        "host,arch-capabilities=off",
        "-S",
      ],
      ["-object", `memory-backend-memfd,id=ram,size=${guestMib}M`, "-m", `${guestMib}M`],
      ["-nodefaults", "-no-user-config", "-display", "none", "-serial", "none"],
      ["-drive", `if=none,id=one,file=${disk},format=raw,file.locking=off`, "-device", "virtio-blk-device,drive=one"],
      ["-drive", `if=none,id=two,file=${disk},format=raw,readonly=on,file.locking=off`],
      ["-device", "virtio-blk-device,drive=two", "-device", "virtio-serial-device"],
      ["-device", "virtio-rng-device", "-device", "virtio-balloon-device"],
      ["-chardev", "stdio,id=monitor,signal=off", "-mon", "chardev=monitor,mode=control"],
    ].flat(),
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  // It greets when everything is made.
  await once(child.stdout, "data");
  return child;
};

const ended = async (child: ChildProcess): Promise<void> => {
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
};

/** Of each of `count` that run at once, on average. */
const ownKibOf = async (count: number, start: () => Promise<ChildProcess>): Promise<number> => {
  const children: ChildProcess[] = [];
  try {
    for (let index = 0; index < count; index += 1) children.push(await start());
    // Whatever its threads are still at when the guest has spoken.
    await delay(200);
    return children.reduce((sum, { pid }) => sum + ownKib(pid ?? 0), 0) / count;
  } finally {
    await Promise.all(children.map(ended));
  }
};

try {
  const own = { one: await ownKibOf(1, ours), many: await ownKibOf(many, ours) };
  const peer = { one: await ownKibOf(1, qemu), many: await ownKibOf(many, qemu) };
  printTable([
    ["KiB PSS beside the guest's RAM", "1 machine", `each of ${many}`],
    ["bulkhead-vmm", own.one, own.many],
    ["QEMU microvm, before its guest runs", peer.one, peer.many],
  ]);
  const pssKib = Math.max(own.one, own.many);
  printFigures({
    bench: "vm-memory",
    pssKib,
    pssKibOfMany: own.many,
    peerPssKib: peer.one,
    peerPssKibOfMany: peer.many,
    ratio: own.one / peer.one,
    better: "lower",
    goal: `at most ${goalKib} KiB each, 1 and ${many} machines`,
    met: pssKib <= goalKib,
  });
} finally {
  rmSync(directory, { recursive: true, force: true });
}
