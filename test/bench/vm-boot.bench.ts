/**
 * Boot of Debian's kernel for virtual machines on a lab host, whose KVM is QEMU's software SVM, so that only the ratios
 * say something: ours against `qemu-system-x86_64 -M microvm -accel kvm`, with the same ELF, initramfs, command line, RAM
 * and devices, in at least 10 interleaved pairs. Kernel entry is a byte that the ELF's own first instructions write to the
 * serial port; init is a static program that says a line. Both are read by one small process, from the monitor's start on.
 * QEMU boots without option ROMs, PIT and PIC, but with its RTC: without one Debian's kernel waits seconds for it, which
 * would count against QEMU. To its entry QEMU has read all of the kernel and ours what the guest touched until then
 * (docs/decisions/0040); to init both have, so the two ratios are judged together. Beside them, the processor time that
 * the lab host took for each boot and its end, which moves less with what else this machine does. `--pairs N` for more or
 * fewer.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Lab } from "../lab/lab.ts";
import { bootKernel } from "./boot-kernel.ts";
import { buildMachineBench, machineBenchPath, monitorPath } from "./machine-bench.ts";
import { interleave, median, percentile, printFigures, printTable } from "./report.ts";

const { values: options } = parseArgs({ options: { pairs: { type: "string", default: "12" } } });
const pairs = Number(options.pairs);
const goal = { entryRatio: 0.25, ratio: 0.8 };
const memoryMib = "256";
const bootMs = 300_000;
/** What init says. */
const mark = "BULKHEAD init";
/** QEMU's software SVM loses extended processor state between guest and host. */
const commandLine = "console=ttyS0 quiet panic=-1 reboot=t noxsave";

const directory = join(resolve(import.meta.dirname, "../../node_modules/.cache"), `bulkhead-vm-boot-${process.pid}`);

/** An archive of one static program, which says the mark and switches the machine off. */
const makeInitramfs = (): string => {
  const root = join(directory, "root");
  mkdirSync(root, { recursive: true });
  const source = resolve(import.meta.dirname, "../lab/guest/boot-mark.c");
  execFileSync("gcc", ["-static", "-O1", "-Wall", "-Werror", `-DMARK="${mark}"`, "-o", join(root, "init"), source]);
  const archive = join(directory, "initramfs");
  execFileSync("sh", ["-c", `cd ${root} && find . | busybox cpio -o -H newc > ${archive}`], { stdio: "pipe" });
  return archive;
};

const files = { kernel: "/tmp/boot/kernel", initramfs: "/tmp/boot/initramfs", disk: "/tmp/boot/disk" };
const oursCommand = [
  ["/tmp/boot/bulkhead-vmm", "--kernel", files.kernel, "--initramfs", files.initramfs, "--command-line", commandLine],
  ["--memory-mib", memoryMib, "--phases", "--device", `block,file=${files.disk}`, "--device", "entropy"],
].flat();
const qemuCommand = [
  ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
  ["-M", "microvm,x-option-roms=off,pit=off,pic=off,rtc=on,acpi=on,isa-serial=on", "-accel", "kvm", "-cpu", "host"],
  ["-m", memoryMib, "-kernel", files.kernel, "-initrd", files.initramfs, "-append", commandLine, "-serial", "stdio"],
  ["-drive", `if=none,id=disk,file=${files.disk},format=raw`, "-device", "virtio-blk-device,drive=disk"],
  ["-device", "virtio-rng-device"],
].flat();

interface Watched {
  readonly beganNs: number;
  readonly firstByteNs: number;
  readonly lineNs: number;
}

const inMs = (ns: number): number => ns / 1e6;

await buildMachineBench();
mkdirSync(directory, { recursive: true });
try {
  const kernel = await bootKernel();
  const initramfs = makeInitramfs();
  // With more processors a boot stands still now and then, QEMU's as ours (test/lab/README.md).
  await using lab = await Lab.boot({ coresPerSocket: 1, bootMs, modprobe: ["kvm_amd"] });
  const prepared = await lab.run(
    `mkdir /tmp/boot && cp ${monitorPath} ${machineBenchPath} ${initramfs} /tmp/boot && cp ${kernel.image} ${files.kernel} &&
     truncate -s 64M ${files.disk}`,
    { timeoutMs: bootMs },
  );
  if (prepared.code !== 0) throw new Error(prepared.stderr);

  const boot = async (command: readonly string[], processor: number[]): Promise<Watched & { errors: string }> => {
    const beforeMs = lab.processorMs();
    const { code, stdout, stderr } = await lab.run(["/tmp/boot/machine-bench", "watch", mark, ...command], {
      timeoutMs: bootMs,
    });
    processor.push(lab.processorMs() - beforeMs);
    if (code !== 0) throw new Error(`${command[0]} ended with ${code}: ${stderr}`);
    return { ...(JSON.parse(stdout) as Watched), errors: stderr };
  };

  const entries = { ours: [] as number[], qemu: [] as number[] };
  const processor = { ours: [] as number[], qemu: [] as number[] };
  const phases = new Map<string, number[]>();
  const note = (name: string, fromNs: number, toNs: number): void => {
    phases.set(name, [...(phases.get(name) ?? []), inMs(toNs - fromNs)]);
  };
  const ours = async (): Promise<number> => {
    const { beganNs, firstByteNs, lineNs, errors } = await boot(oursCommand, processor.ours);
    const steps = Object.entries((JSON.parse(errors) as { phases: Record<string, number> }).phases);
    const entryNs = beganNs + firstByteNs;
    for (const [index, [name, atNs]] of [["process", beganNs] as const, ...steps].entries()) {
      note(name, atNs, steps[index]?.[1] ?? entryNs);
    }
    note("kernel to init", firstByteNs, lineNs);
    entries.ours.push(inMs(firstByteNs));
    return inMs(lineNs);
  };
  const qemu = async (): Promise<number> => {
    const { firstByteNs, lineNs } = await boot(qemuCommand, processor.qemu);
    entries.qemu.push(inMs(firstByteNs));
    return inMs(lineNs);
  };

  await ours();
  await qemu();
  for (const samples of [...Object.values(entries), ...Object.values(processor), ...phases.values()])
    samples.length = 0;
  const { a, b } = await interleave(pairs, ours, qemu);
  printTable([
    ["ours, step by step", "p50 ms"],
    ...[...phases].map(([name, samples]) => [
      name === "guest" ? "first KVM_RUN to kernel entry" : name,
      median(samples),
    ]),
  ]);
  console.log();
  printTable([
    ["from the monitor's start, ms", "n", "p10", "p50", "p90"],
    ...Object.entries({
      "ours: kernel entry": entries.ours,
      "QEMU: kernel entry": entries.qemu,
      "ours: init": a,
      "QEMU: init": b,
      "ours: processor time": processor.ours,
      "QEMU: processor time": processor.qemu,
    }).map(([title, samples]) => [
      title,
      samples.length,
      percentile(samples, 0.1),
      median(samples),
      percentile(samples, 0.9),
    ]),
  ]);
  const entryRatio = median(entries.ours) / median(entries.qemu);
  const ratio = median(a) / median(b);
  printFigures({
    bench: "vm-boot",
    pairs,
    entryP50Ms: median(entries.ours),
    peerEntryP50Ms: median(entries.qemu),
    entryRatio,
    p50Ms: median(a),
    peerP50Ms: median(b),
    ratio,
    processorRatio: median(processor.ours) / median(processor.qemu),
    better: "lower",
    goal: `ours / QEMU: kernel entry <= ${goal.entryRatio}, init <= ${goal.ratio}`,
    met: entryRatio <= goal.entryRatio && ratio <= goal.ratio,
  });
} finally {
  rmSync(directory, { recursive: true, force: true });
}
