/**
 * What a guest gets out of its disk and its network card on a lab host, whose KVM is QEMU's software SVM, so that only the
 * ratios say something: ours against `qemu-system-x86_64 -M microvm -accel kvm`, whose back ends are QEMU's own (io_uring,
 * no vhost). Same kernel, guest program (test/lab/guest/io-load.c), file and tap device, in interleaved pairs of machines;
 * each row is two seconds of load in each. vsock of ours and QEMU with the kernel's vhost-net stand beside, without goal.
 * `--pairs N` for more or fewer.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { guestInitramfs } from "../lab/guest-initramfs.ts";
import { Lab } from "../lab/lab.ts";
import { bootKernel } from "./boot-kernel.ts";
import { buildMachineBench, monitorPath } from "./machine-bench.ts";
import { interleave, median, printFigures, printTable } from "./report.ts";

const { values: options } = parseArgs({ options: { pairs: { type: "string", default: "5" } } });
const pairs = Number(options.pairs);
const goalRatio = 1;
const machineMs = 300_000;
const address = { host: "10.99.0.1", guest: "10.99.0.2", mac: "02:00:00:00:00:01" };
const commandLine = "console=ttyS0 quiet panic=-1 reboot=t noxsave mitigations=off";
const directory = join(resolve(import.meta.dirname, "../../node_modules/.cache"), `bulkhead-vm-io-${process.pid}`);
const files = { kernel: "/tmp/io/kernel", initramfs: "/tmp/io/load", disk: "/tmp/io/disk", vsock: "/tmp/io/vsock" };

const script = `io-load block /dev/vda
ip addr add ${address.guest}/24 dev eth0 && ip link set eth0 up
io-load net ${address.host}
[ -e /dev/vsock ] && io-load vsock`;

const ours = [
  ["/tmp/io/bulkhead-vmm", "--kernel", files.kernel, "--initramfs", files.initramfs, "--command-line", commandLine],
  ["--memory-mib", "256", "--device", `block,file=${files.disk}`],
  ["--device", `net,mac=${address.mac},tap=tap0`, "--device", `vsock,cid=42,path=${files.vsock}`],
].flat();
const qemu = (vhost: "on" | "off"): string[] =>
  [
    ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ["-M", "microvm,x-option-roms=off,pit=off,pic=off,rtc=on,acpi=on,isa-serial=on", "-accel", "kvm", "-cpu", "host"],
    ["-m", "256", "-kernel", files.kernel, "-initrd", files.initramfs, "-append", commandLine, "-serial", "stdio"],
    ["-drive", `if=none,id=disk,file=${files.disk},format=raw,aio=io_uring`, "-device", "virtio-blk-device,drive=disk"],
    ["-netdev", `tap,id=net,ifname=tap0,script=no,downscript=no,vhost=${vhost}`],
    ["-device", `virtio-net-device,netdev=net,mac=${address.mac}`],
  ].flat();

/** Rows of one machine's run, per second. */
type Rates = ReadonlyMap<string, number>;

await buildMachineBench();
mkdirSync(directory, { recursive: true });
try {
  const kernel = await bootKernel();
  const program = resolve(import.meta.dirname, "../lab/guest/io-load.c");
  const initramfs = guestInitramfs(directory, kernel, {
    name: "load",
    modules: ["virtio_mmio", "virtio_blk", "virtio_net", "vmw_vsock_virtio_transport"],
    sources: [program],
    script,
  });
  // The other end of its streams.
  execFileSync("gcc", ["-static", "-O1", "-o", join(directory, "io-load"), program]);
  await using lab = await Lab.boot({ bootMs: machineMs, modprobe: ["kvm_amd", "tun", "vhost_net"] });
  const prepared = await lab.run(
    `mkdir /tmp/io && cp ${monitorPath} ${initramfs} ${join(directory, "io-load")} /tmp/io && cp ${kernel.image} ${files.kernel} &&
     dd if=/dev/zero of=${files.disk} bs=1M count=256 2>&1 && ip tuntap add tap0 mode tap vnet_hdr &&
     ip addr add ${address.host}/24 dev tap0 && ip link set tap0 up &&
     for way in "serve ${address.host}" "serve-unix ${files.vsock}"; do
       (setsid /tmp/io/io-load $way < /dev/null > /dev/null 2>&1 &)
     done; until [ -S ${files.vsock}_5003 ]; do sleep 0.1; done`,
    { timeoutMs: machineMs },
  );
  if (prepared.code !== 0) throw new Error(prepared.stdout + prepared.stderr);

  const rows = new Map<string, { ours: number[]; qemu: number[]; vhost: number[] }>();
  const load = async (whose: "ours" | "qemu" | "vhost", command: readonly string[]): Promise<number> => {
    const { code, stdout, stderr } = await lab.run(command, { timeoutMs: machineMs });
    const rates: Rates = new Map(
      [...stdout.matchAll(/^row (\S+) ([\d.]+)\r?$/gm)].map(([, name = "", rate]) => [name, Number(rate)]),
    );
    if (code !== 0 || rates.size < 9) throw new Error(`${command[0]} ended with ${code}: ${stdout}${stderr}`);
    for (const [name, rate] of rates) {
      const row = rows.get(name) ?? { ours: [], qemu: [], vhost: [] };
      rows.set(name, row);
      row[whose].push(rate);
    }
    return rates.size;
  };

  await interleave(
    pairs,
    () => load("ours", ours),
    () => load("qemu", qemu("off")),
  );
  await load("vhost", qemu("on"));
  const ratios = new Map<string, number>();
  const table: (string | number)[][] = [
    ["per second (operations, or KiB)", "ours", "QEMU", "ours / QEMU", "QEMU, vhost-net"],
  ];
  for (const [name, row] of rows) {
    const own = median(row.ours);
    if (row.qemu.length > 0) ratios.set(name, own / median(row.qemu));
    table.push([
      name,
      Math.round(own),
      row.qemu.length > 0 ? Math.round(median(row.qemu)) : "-",
      ratios.get(name) ?? "-",
      name.startsWith("net") ? Math.round(median(row.vhost)) : "-",
    ]);
  }
  printTable(table);
  const ratio = Math.min(...ratios.values());
  printFigures({
    bench: "vm-io",
    pairs,
    ratio,
    ratios: Object.fromEntries([...ratios].map(([name, value]) => [name, Math.round(value * 1000) / 1000])),
    better: "higher",
    goal: `ours / QEMU >= ${goalRatio} in every row`,
    met: ratio >= goalRatio,
  });
} finally {
  rmSync(directory, { recursive: true, force: true });
}
