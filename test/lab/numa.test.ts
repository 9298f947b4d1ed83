// Where the memory of a machine of our own monitor comes from, on a host with two NUMA nodes.
import { monitorPath } from "@bulkhead/native-kvm";
import { expect, test } from "vitest";
import { say, tinyKernel } from "../../native/kvm/src/testing/tiny-kernel.ts";
import { Lab } from "./lab.ts";

/** hlt, for ever */
const rest = [0xf4, 0xeb, 0xfd];

test("a machine's memory is of the nodes that it was promised, whichever CPU it runs on", async () => {
  const numa = [
    { cpus: "0", memoryMib: 1024 },
    { cpus: "1", memoryMib: 1024 },
  ];
  await using lab = await Lab.boot({ sockets: 2, coresPerSocket: 1, numa, modprobe: ["kvm_amd"] });
  const kernel = tinyKernel([...say("here\n"), ...rest]).toString("base64");
  for (const node of [0, 1]) {
    const script = `
      echo ${kernel} | base64 -d > /tmp/kernel
      ${monitorPath} --kernel /tmp/kernel --memory-mib 64 --locked --pin 0 --memory-nodes ${node} > /tmp/said-${node} &
      until grep -q here /tmp/said-${node}; do kill -0 $! || exit 1; done
      cat /proc/$!/numa_maps
      kill $!`;
    const { code, stdout, stderr } = await lab.run(["sh", "-c", script], { timeoutMs: 60_000 });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const bound = stdout.split("\n").filter((line) => line.includes(` bind:${node} `));
    expect(bound).toHaveLength(1);
    const pages = [...(bound[0] ?? "").matchAll(/ N(\d+)=(\d+)/g)].map(([, on, count]) => [Number(on), Number(count)]);
    // 64 MiB in pages of 4 KiB, whatever size they are of.
    expect(pages).toEqual([[node, 16_384]]);
  }
});
