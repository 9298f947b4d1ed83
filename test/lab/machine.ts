import type { LabKernel } from "./kernel.ts";

/** Memory and CPUs of one NUMA node; the sizes of all nodes are the machine's memory. */
export interface LabNumaNode {
  /** as in `0-1` */
  readonly cpus: string;
  readonly memoryMib: number;
}

export interface LabMachine {
  readonly sockets: number;
  readonly coresPerSocket: number;
  /** more than one costs the machine its hardware virtualization */
  readonly threadsPerCore: number;
  /** processors run one after the other: what V8 compiles needs it where a lot of it runs */
  readonly inTurns: boolean;
  readonly memoryMib: number;
  /** empty: one node that the firmware does not describe */
  readonly numa: readonly LabNumaNode[];
  /** which of its security modules is on; Debian's own choice is AppArmor */
  readonly securityModule: "apparmor" | "selinux";
}

export const defaultMachine: LabMachine = {
  sockets: 1,
  coresPerSocket: 4,
  threadsPerCore: 1,
  inTurns: false,
  memoryMib: 3072,
  numa: [],
  securityModule: "apparmor",
};

/** Files of one boot. */
export interface LabFiles {
  readonly initramfs: string;
  /** raw, formatted as ext4 */
  readonly disk: string;
  /** Unix socket that the test listens at */
  readonly socket: string;
}

/** Name of the virtio port at whose other end the test is. */
export const portName = "bulkhead.lab";

const kernelCommandLine = [
  "console=ttyS0",
  "quiet",
  // A panic ends QEMU (with -no-reboot), so that the test sees it at once.
  "panic=-1",
  // An emulated CPU on a busy machine looks like a stuck one.
  "nowatchdog",
  "rcupdate.rcu_cpu_stall_suppress=1",
  // And its timer like a dead one, which the kernel would stop at.
  "no_timer_check",
  // All its processors read one counter, which nothing but their model's age keeps Linux from trusting. The clock that it
  // takes instead is a device behind one lock: with a machine of its own the host then does nothing but read the time.
  "tsc=reliable",
  // Mitigations of faults that an emulated CPU does not have cost it a fifth of its speed.
  "mitigations=off",
];

/**
 * The largest CPU that software can be. Without AVX, which QEMU 7.2 has only begun to translate, and without memory keys;
 * a page walk of four levels instead of five is felt in every program. Threads of a core are known to Intel's CPUs only
 * (an AMD's would need the topology extension), hardware virtualization to AMD's only.
 */
const cpuModel = (threadsPerCore: number): string =>
  ["max", "-avx", "-avx2", "-pku", "-la57", threadsPerCore > 1 ? "vendor=GenuineIntel,-svm" : "+svm"].join(",");

const numaArguments = (nodes: readonly LabNumaNode[]): string[] =>
  nodes.flatMap(({ cpus, memoryMib }, node) => [
    "-object",
    `memory-backend-ram,id=node${node},size=${memoryMib}M`,
    "-numa",
    `node,nodeid=${node},cpus=${cpus},memdev=node${node}`,
  ]);

/** QEMU's arguments for a machine with nested hardware virtualization, in software. */
export const qemuArguments = (machine: LabMachine, kernel: LabKernel, files: LabFiles): string[] => {
  const { sockets, coresPerSocket: cores, threadsPerCore: threads } = machine;
  const inTurns = machine.inTurns || threads > 1;
  const memoryMib =
    machine.numa.length === 0 ? machine.memoryMib : machine.numa.reduce((sum, node) => sum + node.memoryMib, 0);
  const commandLine = [...kernelCommandLine, `security=${machine.securityModule}`].join(" ");
  const drive = `file=${files.disk},format=raw,if=none,id=disk,cache=unsafe`;
  return [
    ["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"],
    // V8 dies of its own code now and then when processors really run at once, and with threads of a core soon: it
    // rewrites code while another processor translates it. One after the other they cannot.
    ["-machine", "q35", "-accel", `tcg,thread=${inTurns ? "single" : "multi"}`, "-cpu", cpuModel(threads)],
    ["-smp", `${sockets * cores * threads},sockets=${sockets},cores=${cores},threads=${threads}`],
    ["-m", String(memoryMib), ...numaArguments(machine.numa)],
    ["-kernel", kernel.image, "-initrd", files.initramfs, "-append", commandLine],
    ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
    ["-fsdev", "local,id=outer,path=/,security_model=none,readonly=on,multidevs=remap"],
    ["-device", "virtio-9p-pci,fsdev=outer,mount_tag=outer"],
    ["-drive", drive, "-device", "virtio-blk-pci,drive=disk"],
    ["-chardev", `socket,id=port,path=${files.socket}`, "-device", "virtio-serial-pci"],
    ["-device", `virtserialport,chardev=port,name=${portName}`],
  ].flat();
};
