import { mkdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { guestInitramfs, type GuestProgram } from "./guest-initramfs.ts";
import { labKernel, type LabKernel } from "./kernel.ts";
import { Lab } from "./lab.ts";

const monitor = resolve(import.meta.dirname, "../../native/kvm/build/bulkhead-vmm");

/** QEMU's software SVM loses extended processor state between guest and host: kernels that use xsave cannot return from signals. */
const commandLine = "console=ttyS0 quiet panic=-1 noxsave";

describe("the monitor on hardware KVM", () => {
  let lab: Lab;
  let kernel: LabKernel;
  // /tmp of a lab host is its own; the checkout is not.
  const shared = join(resolve(import.meta.dirname, "../../node_modules/.cache"), `bulkhead-microvm-${process.pid}`);
  beforeAll(async () => {
    mkdirSync(shared, { recursive: true });
    kernel = await labKernel();
    // Where processors really run at once, QEMU 7.2 loses one now and then that is in a guest: it hears nothing any more.
    lab = await Lab.boot({ modprobe: ["kvm_amd", "tun"], inTurns: true });
  });
  afterAll(async () => {
    await lab[Symbol.asyncDispose]();
    rmSync(shared, { recursive: true, force: true });
  });

  /** What the guest says on its serial port; it has to switch its machine off by itself. */
  const runGuest = async (program: GuestProgram, options: readonly string[] = []): Promise<string> => {
    const files = ["--kernel", kernel.image, "--initramfs", guestInitramfs(shared, kernel, program)];
    const { code, stdout, stderr } = await lab.run(
      [monitor, ...files, "--memory-mib", "256", "--command-line", commandLine, ...options],
      { timeoutMs: 110_000 },
    );
    expect(JSON.parse(stderr)).toMatchObject({ outcome: "powered-off" });
    expect(code).toBe(0);
    return stdout.replaceAll("\r", "");
  };

  test("finds that it runs unmodified kernels", async () => {
    const { code, stdout, stderr } = await lab.run([monitor, "--self-test"], { timeoutMs: 60_000 });
    expect([code, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ level: "kvm", reason: "ok", virtualization: true });
  });

  test.each([1, 2])(
    "boots Debian's kernel on %i processors to a program in its initramfs, and ends with it",
    async (cpus) => {
      const script = `echo "kernel $(uname -r)"
echo "cpus $(grep -c ^processor /proc/cpuinfo)"
echo "line $(cat /proc/cmdline)"
echo "complaints $(dmesg | grep -cE 'ACPI.*(Error|Warning|Exception)|Firmware Bug')"`;
      const said = await runGuest({ name: "hello", script }, ["--cpus", String(cpus)]);
      expect(said).toContain(`kernel ${kernel.release}\ncpus ${cpus}\nline ${commandLine}\ncomplaints 0\n`);
    },
  );

  test("gives Linux a console and randomness through virtio", async () => {
    const said = await runGuest(
      {
        name: "console",
        modules: ["virtio_mmio", "virtio_console", "virtio_rng"],
        script: `echo "source $(cat /sys/class/misc/hw_random/rng_current)"
echo "bytes $(dd if=/dev/hwrng bs=64 count=4 2>/dev/null | wc -c)"
echo "through the console" > /dev/hvc0`,
      },
      ["--device", "console,out=fd:1", "--device", "entropy"],
    );
    expect(said).toContain("source virtio_rng.0\nbytes 256\n");
    expect(said).toContain("through the console\n");
  });

  test.each(["", ",one-by-one"])("keeps what Linux writes to a disk, and what it may not write%s", async (way) => {
    const [disk, image, full] = ["/tmp/disk", "/tmp/image", "/tmp/full"];
    const made = await lab.run(
      `rm -f ${disk} ${image} && truncate -s 16M ${disk} ${image} && mkfs.ext4 -q ${disk} && echo read me | dd of=${image} conv=notrunc && tr '\\0' x < ${image} | head -c 4M > ${full}`,
      { timeoutMs: 30_000 },
    );
    expect(made).toMatchObject({ code: 0 });
    const said = await runGuest(
      {
        name: "disk",
        modules: ["virtio_mmio", "virtio_blk", "crc32c_generic", "ext4"],
        script: `mkdir /mnt
mount -t ext4 -o discard /dev/vda /mnt && echo "kept by the guest" > /mnt/file && umount /mnt
echo "disks $(cat /sys/block/vda/serial) $(cat /sys/block/vda/size) $(cat /sys/block/vda/queue/write_cache)"
echo "read-only $(cat /sys/block/vdb/ro) $(head -n 1 /dev/vdb)"
blkdiscard /dev/vdc && echo "left $(tr -d '\\000' < /dev/vdc | wc -c)"`,
      },
      [disk, `${image},readonly`, full].flatMap((file, index) => [
        "--device",
        `block,file=${file}${index === 0 ? ",id=the-disk" : ""}${way}`,
      ]),
    );
    expect(said).toContain("disks the-disk 32768 write back\nread-only 1 read me\nleft 0\n");
    const after = await lab.run(`debugfs -R 'cat /file' ${disk} && stat -c %b ${full}`, { timeoutMs: 30_000 });
    expect(after.stdout).toBe("kept by the guest\n0\n");
  });

  test("carries packets between Linux and the host, large ones too", async () => {
    const served = await lab.run(
      `ip tuntap add tap0 mode tap vnet_hdr && ip addr add 10.99.0.1/24 dev tap0 && ip link set tap0 up &&
       mkdir /tmp/www && head -c 4M /dev/urandom > /tmp/www/file && busybox httpd -p 10.99.0.1:80 -h /tmp/www &&
       (setsid busybox nc -l -p 81 -e /bin/sh -c 'cat > /tmp/received' < /dev/null > /dev/null 2>&1 &)`,
      { timeoutMs: 30_000 },
    );
    expect(served).toMatchObject({ code: 0 });
    const said = await runGuest(
      {
        name: "net",
        modules: ["virtio_mmio", "virtio_net"],
        script: `ip addr add 10.99.0.2/24 dev eth0 && ip link set eth0 up
echo "card $(cat /sys/class/net/eth0/address) $(cat /sys/class/net/eth0/mtu)"
wget -q -O /tmp/file http://10.99.0.1/file && nc 10.99.0.1 81 < /tmp/file
ip link set eth0 address 02:00:00:00:00:02
ping -c 1 -W 1 10.99.0.1 > /dev/null || echo "no other address"`,
      },
      ["--device", "net,mac=02:00:00:00:00:01,mtu=1400,tap=tap0"],
    );
    expect(said).toContain("card 02:00:00:00:00:01 1400\nno other address\n");
    // What arrived there and came back is what was sent.
    expect(await lab.run("cmp /tmp/www/file /tmp/received", { timeoutMs: 30_000 })).toMatchObject({ code: 0 });
  });

  test("carries streams between programs in the guest and on the host", async () => {
    const echo = 'require("node:net").createServer((stream) => stream.pipe(stream)).listen("/tmp/vsock_5")';
    const started = await lab.run(
      `(setsid ${process.execPath} -e '${echo}' < /dev/null > /dev/null 2>&1 &) && until [ -S /tmp/vsock_5 ]; do sleep 0.1; done`,
      { timeoutMs: 30_000 },
    );
    expect(started).toMatchObject({ code: 0 });
    const said = await runGuest(
      {
        name: "vsock",
        modules: ["virtio_mmio", "vmw_vsock_virtio_transport"],
        sources: [resolve(import.meta.dirname, "guest/vsock-echo.c")],
        script: "vsock-echo",
      },
      ["--device", "vsock,cid=42,path=/tmp/vsock"],
    );
    expect(said).toContain("echoed 1048576 to cid 42, then 0\n");
  });

  test("gets memory back from Linux through the balloon", async () => {
    const said = await runGuest(
      {
        name: "balloon",
        modules: ["virtio_mmio", "virtio_balloon"],
        script: "until grep '^balloon_inflate 16384$' /proc/vmstat; do usleep 100000; done",
      },
      ["--device", "balloon,mib=64"],
    );
    expect(said).toContain("balloon_inflate 16384\n");
  });

  test("takes a machine to files, from which copies of it count on, on a clock that knows no gap", async () => {
    const program = {
      name: "counting",
      modules: ["virtio_mmio", "virtio_rng"],
      // The generic event device and the generation id are where ACPI says; randomness needs the queue and its interrupt.
      script: `echo "described $(cat /sys/bus/acpi/devices/*/hid | grep -cE 'ACPI0013|VMGENCTR')"
n=0
while :; do
  n=$((n + 1))
  echo "count $n at $(cut -d ' ' -f 1 /proc/uptime) with $(dd if=/dev/hwrng bs=8 count=1 2>/dev/null | wc -c)"
  usleep 100000
done`,
    };
    const start = (name: string, words: readonly string[]): Promise<unknown> => {
      const own = ["--serial", `/tmp/${name}.said`, "--control", `/tmp/${name}.control`, "--device", "entropy"];
      const line = [monitor, ...words, ...own].map((word) => `'${word}'`).join(" ");
      return lab.run(`: > /tmp/${name}.said; (setsid ${line} < /dev/null > /dev/null 2>&1 &)`, { timeoutMs: 30_000 });
    };
    const ask = (name: string, request: readonly string[]) =>
      lab.run([monitor, "--ask", `/tmp/${name}.control`, "--request", ...request], { timeoutMs: 60_000 });
    /** What it has said once there are so many whole lines of counts. */
    const hear = async (name: string, atLeast: number): Promise<string> => {
      const until = `until [ $(grep -c '^count .* with 8' /tmp/${name}.said) -ge ${atLeast} ]; do sleep 0.2; done`;
      const { stdout } = await lab.run(`${until}; cat /tmp/${name}.said`, { timeoutMs: 110_000 });
      return stdout;
    };
    /** Number, and seconds since the boot, of each. */
    const countsIn = (said: string): number[][] =>
      [...said.matchAll(/^count (\d+) at ([\d.]+) with 8\r?$/gm)].map((found) => found.slice(1).map(Number));
    const boot = ["--kernel", kernel.image, "--initramfs", guestInitramfs(shared, kernel, program)];
    await start("original", [...boot, "--memory-mib", "256", "--command-line", commandLine]);
    expect(await hear("original", 3)).toContain("described 2");
    const taken = await ask("original", ["snapshot", "--new-file", "/tmp/state", "--new-file", "/tmp/memory"]);
    expect(taken).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(taken.stdout)).toMatchObject({ memoryBytes: 256 * 2 ** 20, lacking: [] });
    const before = countsIn(await hear("original", 3));
    expect(await ask("original", ["stop"])).toMatchObject({ code: 0 });

    for (const name of ["one", "other"]) {
      await start(name, ["--restore", "/tmp/state", "--memory", "/tmp/memory"]);
      const [first, ...rest] = countsIn(await hear(name, 4));
      const last = before.find(([number]) => number === (first?.[0] ?? 0) - 1);
      // The count goes on, and so does the guest's clock, whatever time went by until there was a copy.
      expect({ before, first, last }).toMatchObject({ last: expect.any(Array) });
      expect((first?.[1] ?? 0) - (last?.[1] ?? 0)).toBeLessThan(5);
      expect(rest.map(([number]) => number)).toEqual(rest.map((_, index) => (first?.[0] ?? 0) + 1 + index));
      expect(await ask(name, ["stop"])).toMatchObject({ code: 0 });
    }
    // Files are made, never replaced: a copy may be using them.
    await start("third", ["--restore", "/tmp/state", "--memory", "/tmp/memory"]);
    await hear("third", 1);
    const again = await ask("third", ["snapshot", "--new-file", "/tmp/state", "--new-file", "/tmp/memory"]);
    expect([again.code, JSON.parse(again.stderr)]).toEqual([1, expect.objectContaining({ errno: "EEXIST" })]);
    expect(await ask("third", ["stop"])).toMatchObject({ code: 0 });
  });
});
