import { array, assert, property, string, uint8Array } from "fast-check";
import { expect, test } from "vitest";
import { monitorChannels } from "./monitor-channels.ts";
import { qemuChannels } from "./qemu-channels.ts";

const monitor = {
  exits: { portReads: 1, portWrites: 2, memoryReads: 3, memoryWrites: 4, unclaimed: 5 },
  ports: [{ first: 0x3f8, count: 8, uses: 7 }],
  devices: [
    {
      kind: "block",
      address: 0xc0001000,
      sizeBytes: 4096,
      uses: 40,
      queues: 1,
      doorbells: 12,
      interrupts: 9,
      faults: 0,
    },
  ],
  hypercalls: 3,
  calls: { processor: ["ioctl", "read"], loop: ["epoll_wait"], loader: ["pread64"] },
};

test("what a monitor counts is shown by channel", () => {
  expect(monitorChannels(JSON.stringify(monitor))).toEqual({
    channels: [
      { kind: "port", name: "serial port", at: "0x3f8-0x3ff", queues: null, uses: 7 },
      { kind: "registers", name: "block 0", at: "0xc0001000-0xc0001fff", queues: 1, uses: 40 },
      { kind: "doorbell", name: "block 0", at: null, queues: 1, uses: 12 },
      { kind: "interrupt", name: "block 0", at: null, queues: 1, uses: 9 },
      { kind: "hypercall", name: "the host's KVM", at: null, queues: null, uses: 3 },
    ],
    exits: monitor.exits,
    calls: monitor.calls,
    uncounted: [],
  });
});

test("a monitor that was taken over says nothing that is not of this form", () => {
  const refused = [
    "",
    "{}",
    "null",
    JSON.stringify({ ...monitor, hypercalls: -1 }),
    JSON.stringify({ ...monitor, ports: Array.from({ length: 65 }, () => monitor.ports[0]) }),
    JSON.stringify({ ...monitor, calls: { processor: ["\u001b[2J"], loop: [], loader: [] } }),
  ];
  for (const answer of refused) expect(monitorChannels(answer)).toBeNull();
  assert(property(uint8Array(), (bytes) => monitorChannels(Buffer.from(bytes).toString("latin1")) === null));
});

test("of QEMU's machines what their program was started with is known, and no count", () => {
  const args = ["-machine", "microvm,acpi=on,rtc=on", "-serial", "chardev:console"];
  const devices = ["-device", "virtio-blk-device,drive=image,serial=image", "-device", "virtserialport,chardev=agent"];
  const directory = ["-device", "vhost-user-fs-device,chardev=share0,tag=share0,queue-size=256"];
  const { channels, exits, uncounted } = qemuChannels([...args, ...devices, ...directory]);
  expect(channels.map(({ kind, name, at }) => [kind, name, at])).toEqual([
    ["port", "serial port", "0x3f8-0x3ff"],
    ["port", "clock", "0x70-0x71"],
    ["registers", "virtio-blk image", null],
    ["doorbell", "virtio-blk image", null],
    ["interrupt", "virtio-blk image", null],
    ["registers", "vhost-user-fs share0", null],
    ["doorbell", "vhost-user-fs share0", null],
    ["interrupt", "vhost-user-fs share0", null],
  ]);
  expect(channels.every(({ uses }) => uses === null)).toBe(true);
  expect(exits).toBeNull();
  expect(uncounted).not.toEqual([]);
  assert(property(array(string()), (words) => qemuChannels(words).exits === null));
});
