import type { MachineChannel } from "@bulkhead/contracts";
import { range, type MachineChannels } from "./channels.ts";

const uncounted = [
  "ports, registers, doorbells and interrupts: QEMU counts none of them, and its guest is never left for a monitor",
];

const port = (name: string, first: number, count: number): MachineChannel => ({
  kind: "port",
  name,
  at: range(first, count),
  queues: null,
  uses: null,
});

/** Values of an option that is given once or more: `-device virtio-blk-device,drive=image`. */
const valuesOf = (args: readonly string[], option: string): string[] =>
  args.flatMap((word, index) => (word === option ? [args[index + 1] ?? ""] : []));

/** A device behind memory-mapped registers; ports of a console are part of theirs. */
const onTheBus = (device: string): boolean => device.includes("-device");

const deviceChannels = (device: string): MachineChannel[] => {
  const [model = "", ...properties] = device.split(",");
  // Which of its kind it is: a disk's drive, or by which name a guest knows a directory.
  const which = properties.find((property) => /^(drive|tag)=/.test(property))?.replace(/^.*?=/, "");
  const name = `${model.replace(/-device$/, "")}${which === undefined ? "" : ` ${which}`}`;
  return (["registers", "doorbell", "interrupt"] as const).map((kind) => ({
    kind,
    name,
    at: null,
    queues: null,
    uses: null,
  }));
};

/** What can be known of a machine of QEMU's type `microvm`: by what its program was started with. */
export const qemuChannels = (args: readonly string[]): MachineChannels => ({
  channels: [
    // hw/i386/microvm.c and the PC's own addresses.
    ...(valuesOf(args, "-serial").length > 0 ? [port("serial port", 0x3f8, 8)] : []),
    ...(valuesOf(args, "-machine").some((machine) => machine.includes("rtc=on")) ? [port("clock", 0x70, 2)] : []),
    ...valuesOf(args, "-device").filter(onTheBus).flatMap(deviceChannels),
  ],
  exits: null,
  calls: null,
  uncounted,
});
