import { resolve } from "node:path";
import type { GuestProgram } from "./guest-initramfs.ts";

/** What Linux does with devices of ours in a machine on a lab host, and what is to be seen of it. */
export interface Trial extends GuestProgram {
  readonly what: string;
  readonly devices: readonly string[];
  /** command lines on the lab host before */
  readonly prepared?: readonly string[];
  /** lines of the guest's, as they follow each other */
  readonly says: readonly string[];
  /** command lines on the lab host afterwards, and what they print */
  readonly leaves?: readonly { readonly command: string; readonly stdout: string }[];
}

const device = (...words: readonly string[]): string[] => words.flatMap((word) => ["--device", word]);

const consoleTrial: Trial = {
  what: "gives Linux a console and randomness through virtio",
  name: "console",
  modules: ["virtio_mmio", "virtio_console", "virtio_rng"],
  devices: device("console,out=fd:1", "entropy"),
  script: `echo "source $(cat /sys/class/misc/hw_random/rng_current)"
echo "bytes $(dd if=/dev/hwrng bs=64 count=4 2>/dev/null | wc -c)"
echo "through the console" > /dev/hvc0`,
  says: ["source virtio_rng.", "bytes 256\n", "through the console\n"],
};

const disks = ["/tmp/disk", "/tmp/image", "/tmp/full"] as const;

const diskTrial = (way: "" | ",one-by-one"): Trial => ({
  what: `keeps what Linux writes to a disk, and what it may not write${way}`,
  name: "disk",
  modules: ["virtio_mmio", "virtio_blk", "crc32c_generic", "ext4"],
  prepared: [
    `rm -f ${disks.join(" ")} && truncate -s 16M ${disks[0]} ${disks[1]} && mkfs.ext4 -q ${disks[0]} && echo read me | dd of=${disks[1]} conv=notrunc && tr '\\0' x < ${disks[1]} | head -c 4M > ${disks[2]}`,
  ],
  devices: device(
    `block,file=${disks[0]},id=the-disk${way}`,
    `block,file=${disks[1]},readonly${way}`,
    `block,file=${disks[2]}${way}`,
  ),
  script: `mkdir /mnt
mount -t ext4 -o discard /dev/vda /mnt && echo "kept by the guest" > /mnt/file && umount /mnt
echo "disks $(cat /sys/block/vda/serial) $(cat /sys/block/vda/size) $(cat /sys/block/vda/queue/write_cache)"
echo "read-only $(cat /sys/block/vdb/ro) $(head -n 1 /dev/vdb)"
blkdiscard /dev/vdc && echo "left $(tr -d '\\000' < /dev/vdc | wc -c)"`,
  says: ["disks the-disk 32768 write back\nread-only 1 read me\nleft 0\n"],
  leaves: [
    { command: `debugfs -R 'cat /file' ${disks[0]} && stat -c %b ${disks[2]}`, stdout: "kept by the guest\n0\n" },
  ],
});

const netTrial: Trial = {
  what: "carries packets between Linux and the host, large ones too",
  name: "net",
  modules: ["virtio_mmio", "virtio_net"],
  prepared: [
    `ip tuntap add tap0 mode tap vnet_hdr && ip addr add 10.99.0.1/24 dev tap0 && ip link set tap0 up &&
     mkdir /tmp/www && head -c 4M /dev/urandom > /tmp/www/file && busybox httpd -p 10.99.0.1:80 -h /tmp/www &&
     (setsid busybox nc -l -p 81 -e /bin/sh -c 'cat > /tmp/received' < /dev/null > /dev/null 2>&1 &)`,
  ],
  devices: device("net,mac=02:00:00:00:00:01,mtu=1400,tap=tap0"),
  script: `ip addr add 10.99.0.2/24 dev eth0 && ip link set eth0 up
echo "card $(cat /sys/class/net/eth0/address) $(cat /sys/class/net/eth0/mtu)"
wget -q -O /tmp/file http://10.99.0.1/file && nc 10.99.0.1 81 < /tmp/file
ip link set eth0 address 02:00:00:00:00:02
ping -c 1 -W 1 10.99.0.1 > /dev/null || echo "no other address"`,
  says: ["card 02:00:00:00:00:01 1400\nno other address\n"],
  // What arrived there and came back is what was sent.
  leaves: [{ command: "cmp /tmp/www/file /tmp/received", stdout: "" }],
};

const echo = 'require("node:net").createServer((stream) => stream.pipe(stream)).listen("/tmp/vsock_5")';

const vsockTrial: Trial = {
  what: "carries streams between programs in the guest and on the host",
  name: "vsock",
  modules: ["virtio_mmio", "vmw_vsock_virtio_transport"],
  sources: [resolve(import.meta.dirname, "guest/vsock-echo.c")],
  prepared: [
    `(setsid ${process.execPath} -e '${echo}' < /dev/null > /dev/null 2>&1 &) && until [ -S /tmp/vsock_5 ]; do sleep 0.1; done`,
  ],
  devices: device("vsock,cid=42,path=/tmp/vsock"),
  script: "vsock-echo",
  says: ["echoed 1048576 to cid 42, then 0\n"],
};

const balloonTrial: Trial = {
  what: "gets memory back from Linux through the balloon",
  name: "balloon",
  modules: ["virtio_mmio", "virtio_balloon"],
  devices: device("balloon,mib=64"),
  script: "until grep '^balloon_inflate 16384$' /proc/vmstat; do usleep 100000; done",
  says: ["balloon_inflate 16384\n"],
};

/** Each for a machine of its own. */
export const trials: readonly Trial[] = [
  consoleTrial,
  diskTrial(""),
  diskTrial(",one-by-one"),
  netTrial,
  vsockTrial,
  balloonTrial,
];

const parts = [consoleTrial, diskTrial(""), netTrial, vsockTrial, balloonTrial];

/** All of them in one machine, one after the other. */
export const everything: Trial = {
  what: "gives Linux a console, randomness, disks, a network card, streams and a balloon, and each does what it is for",
  name: "everything",
  modules: [...new Set(parts.flatMap(({ modules = [] }) => modules))],
  sources: parts.flatMap(({ sources = [] }) => sources),
  prepared: parts.flatMap(({ prepared = [] }) => prepared),
  devices: parts.flatMap(({ devices }) => devices),
  script: parts.map(({ script }) => script).join("\n"),
  says: parts.flatMap(({ says }) => says),
  leaves: parts.flatMap(({ leaves = [] }) => leaves),
};
