import { fleetError, type MachineChannel } from "@bulkhead/contracts";
import { Type, type Static } from "typebox";
import { Compile } from "typebox/compile";
import { askControl } from "../control/ask-control.ts";
import { range, type MachineChannels } from "./channels.ts";

const count = Type.Integer({ minimum: 0 });
const name = Type.String({ pattern: "^[a-z0-9_-]{1,40}$" });
const names = Type.Array(name, { maxItems: 500 });

/** The answer of native/kvm to `view`: src/control/view.cc. */
const MonitorView = Type.Object({
  exits: Type.Object({
    portReads: count,
    portWrites: count,
    memoryReads: count,
    memoryWrites: count,
    unclaimed: count,
  }),
  ports: Type.Array(Type.Object({ first: count, count, uses: count }), { maxItems: 64 }),
  devices: Type.Array(
    Type.Object({
      kind: name,
      address: count,
      sizeBytes: count,
      uses: count,
      queues: count,
      doorbells: count,
      interrupts: count,
      faults: count,
    }),
    { maxItems: 64 },
  ),
  hypercalls: Type.Union([count, Type.Null()]),
  // Monitors outlive their agents: older ones have no loader.
  calls: Type.Union([Type.Object({ processor: names, loop: names, loader: Type.Optional(names) }), Type.Null()]),
});
const check = Compile(MonitorView);

/** Ports of a PC that the monitor has: native/kvm/src/memory/layout.h and src/devices. */
const portNames: Readonly<Record<number, string>> = {
  0x60: "keyboard controller (reset)",
  0x80: "progress",
  0x3f8: "serial port",
  0x505: "panic of the guest's kernel",
  0x600: "power",
};

const ofDevice = (device: Static<typeof MonitorView>["devices"][number], index: number): MachineChannel[] => {
  const named = `${device.kind} ${index}`;
  const at = range(device.address, device.sizeBytes);
  const { queues } = device;
  return [
    { kind: "registers", name: named, at, queues, uses: device.uses },
    { kind: "doorbell", name: named, at: null, queues, uses: device.doorbells },
    { kind: "interrupt", name: named, at: null, queues, uses: device.interrupts },
  ];
};

/**
 * Reads what a monitor of ours says of its machine; null when it is nothing that one says. A guest that took its monitor
 * over can say anything, but not at any length.
 */
export const monitorChannels = (answer: string): MachineChannels | null => {
  let view: unknown;
  try {
    view = JSON.parse(answer);
  } catch {
    return null;
  }
  if (!check.Check(view)) return null;
  const hypercalls: MachineChannel = {
    kind: "hypercall",
    name: "the host's KVM",
    at: null,
    queues: null,
    uses: view.hypercalls,
  };
  return {
    channels: [
      ...view.ports.map(({ first, count: size, uses }): MachineChannel => {
        return { kind: "port", name: portNames[first] ?? "unknown", at: range(first, size), queues: null, uses };
      }),
      ...view.devices.flatMap(ofDevice),
      hypercalls,
    ],
    exits: { ...view.exits },
    calls: view.calls === null ? null : { ...view.calls },
    uncounted: view.hypercalls === null ? ["hypercalls: this host's KVM keeps no such counter"] : [],
  };
};

/**
 * Asks the monitor that listens in `ports`, which is the monitor's own directory. Rejects RUNTIME_FAILED when it says
 * nothing of use.
 */
export const askMonitor = async (ports: string): Promise<MachineChannels> => {
  const channels = monitorChannels(await askControl(ports, "view"));
  if (channels === null) throw fleetError("RUNTIME_FAILED", "the monitor answers what no monitor of ours says");
  return channels;
};
