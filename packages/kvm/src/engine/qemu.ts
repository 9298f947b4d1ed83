import { cardDescriptor } from "@bulkhead/node";
import { connectPort } from "../guest/connection.ts";
import { kernelWords, machineFiles, type Engine, type MachineOutcome, type MachinePlan } from "./engine.ts";
import { hasFileServer, socketOf, withServers } from "./file-server.ts";
import { qemuRoot } from "./qemu-root.ts";

/** Translated code that QEMU keeps, in MiB; without a number it takes up to 1024. */
const translatedMib = 64;

/** The machine's console and programs write to the log; a port whose other end is the shim's pipe. */
const chardevs = [
  ["-chardev", "file,id=console,path=/dev/stderr"],
  ["-chardev", "file,id=stdout,path=/dev/stdout"],
  ["-chardev", "file,id=stderr,path=/dev/stderr"],
  ["-chardev", "socket,id=agent,path=/machine/ports/agent,server=on,wait=off"],
];

const ports = ["stdout", "stderr", "agent"].map((name) => ["-device", `virtserialport,chardev=${name},name=${name}`]);

const disk = (name: string, options: string) => [
  ["-drive", `if=none,id=${name},file=/machine/${name},format=raw,${options}`],
  ["-device", `virtio-blk-device,drive=${name},serial=${name}`],
];

const card = ({ card }: MachinePlan): string[] =>
  card === null
    ? []
    : [
        ["-netdev", `tap,id=card,fd=${cardDescriptor}`],
        ["-device", `virtio-net-device,netdev=card,mac=${card.mac},host_mtu=${card.mtu}`],
      ].flat();

/**
 * A machine without a clock chip measures its counter against a timer that a busy host delays, and may find none; the host
 * knows it (Linux, Documentation/admin-guide/kernel-parameters.txt, tsc_early_khz). A triple fault resets what emulates no
 * keyboard controller.
 */
const commandLine = ({ tscKhz }: MachinePlan): string =>
  [...kernelWords, "reboot=t", ...(tscKhz === null ? [] : [`tsc_early_khz=${tscKhz}`])].join(" ");

/** A panic is told by its own device; QEMU ends alike at a power-off, a reset and a triple fault. */
const outcomes: Readonly<Record<number, MachineOutcome>> = { 0: "powered-off", 1: "kernel-panic" };

/**
 * Who serves files reads and writes them in the guest's own memory, which therefore has a descriptor, and knows no virtio
 * from before its first standard, which QEMU's registers are of otherwise.
 */
const sharing = ({ shared, memoryMib }: MachinePlan): string[] =>
  shared.length === 0
    ? []
    : [
        ["-object", `memory-backend-memfd,id=memory,size=${memoryMib}M,share=on`, "-machine", "memory-backend=memory"],
        ["-global", "virtio-mmio.force-legacy=false"],
        ...shared.flatMap((directory) => [
          ["-chardev", `socket,id=${directory.tag},path=${socketOf(directory)}`],
          ["-device", `vhost-user-fs-device,chardev=${directory.tag},tag=${directory.tag},queue-size=256`],
        ]),
      ].flat();

/** Arguments of a machine without a bus, with nothing in it that its guest does not use. */
const argumentsOf = (plan: MachinePlan): string[] =>
  [
    ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ["-action", "panic=exit-failure", "-device", "pvpanic"],
    ["-L", "/usr/share/qemu"],
    ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    ["-machine", "microvm,acpi=on,rtc=on", "-accel", `tcg,thread=multi,tb-size=${translatedMib}`, "-cpu", "max,-la57"],
    ["-smp", String(plan.cpus), "-m", String(plan.memoryMib)],
    ["-kernel", "/machine/kernel", "-initrd", "/machine/initramfs", "-append", commandLine(plan)],
    ...chardevs,
    ["-serial", "chardev:console"],
    card(plan),
    ...disk("image", "readonly=on"),
    ...disk("scratch", "discard=unmap"),
    ...disk("settings", "readonly=on"),
    ...disk("report", "cache=writethrough"),
    ["-device", "virtio-serial-device"],
    ...ports,
    sharing(plan),
  ].flat();

/**
 * By `npm run bench -- vm-overhead`: at most 99 MiB under load, of which the translated code is 64, whatever the guest's
 * RAM; half again for loads that it does not have, and for the page cache of disks. What maps a MiB are 2 KiB of page
 * tables, twice. The share of a CPU is chosen: QEMU's own thread serves disks and the card besides the processors' threads.
 */
const overhead = { overheadBytes: 160 * 2 ** 20, overheadBytesPerMib: 4096, emulatorMillis: 250 } as const;

/** QEMU, which emulates what the host's KVM cannot run; `directory` is for its root. */
export const qemuEngine = (directory: string): Engine => ({
  name: "qemu",
  overhead,
  holdsPlaces: false,
  holdsShares: hasFileServer(),
  prepare: async (signal) => [await qemuRoot(directory, signal)],
  program: (root, plan) => ({
    root,
    ...withServers(plan.shared, ["/usr/bin/qemu-system-x86_64", ...argumentsOf(plan)]),
    files: machineFiles(plan),
    devices: [],
  }),
  connect: (directory) => connectPort({ directory, name: "agent" }),
  outcomeOf: (exitCode) => outcomes[exitCode] ?? null,
  standstill: null,
});
