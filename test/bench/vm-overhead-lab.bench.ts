/**
 * vm-overhead of our own monitor, inside a lab host whose KVM runs unmodified kernels: memory is counted there as anywhere,
 * and only times are not. One processor, with which every boot comes to its end (test/lab/README.md).
 */
import { join, resolve } from "node:path";
import { GuestKernels } from "@bulkhead/kvm";
import { benchInLab } from "./in-lab.ts";

// The lab host cannot download; it finds the kernel in the cache.
await new GuestKernels(
  join(resolve(import.meta.dirname, "../.."), "node_modules/.cache/bulkhead-guest-kernels"),
).current();

await benchInLab("vm-overhead", [], {
  host: { modprobe: ["kvm_amd", "loop", "tun"], memoryMib: 4096, inTurns: true, coresPerSocket: 1 },
  env: { BULKHEAD_TEST_ENGINE: "kvm", BULKHEAD_TEST_SLOWNESS: "5" },
});
