/**
 * `/bin/true` in a running container, start to exit: `bulkhead-oci exec` against `runc exec` as whole processes in two
 * containers of equal bundles, and the agent's own exec (no HTTP) beside them. Interleaved, at least 200 pairs.
 */
import { fileURLToPath } from "node:url";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "@bulkhead/namespaces/testing";
import { interleave, median, percentile, printFigures, printTimes } from "./report.ts";
import { RuncBundle } from "./runc-bundle.ts";

const pairs = 220;
const warmUps = 20;
const goal = 0.3;
const runtime = fileURLToPath(new URL("../../native/namespaces/build/bulkhead-oci", import.meta.url));
const idle = ["/bin/sleep", "100000"];

await using rig = await Rig.open();
const image = await rig.image(await busyboxImage());
const assignment = rig.assignment(image, {
  command: idle,
  resources: { cpuMillis: 500, pidsMax: 64 },
});
await using bundle = await RuncBundle.prepare(rig, assignment, { workers: 2, args: idle });
const run = await rig.start(assignment);
const ids = { ours: `exec-${process.pid}-ours`, peer: `exec-${process.pid}-peer` };
await bundle.call(runtime, "run", ["--detach", "--bundle", bundle.bundle(0), ids.ours]);
await bundle.call("runc", "run", ["--detach", "--bundle", bundle.bundle(1), ids.peer]);

const agent = async (): Promise<number> => {
  const began = performance.now();
  const session = await run.exec({ command: ["/bin/true"], tty: false });
  session.stdin.end();
  const { exitCode } = await session.ended;
  const took = performance.now() - began;
  session.close();
  if (exitCode !== 0) throw new Error(`the agent's exec ended with ${exitCode}`);
  return took;
};
const ours = (): Promise<number> => bundle.call(runtime, "exec", [ids.ours, "/bin/true"]);
const peer = (): Promise<number> => bundle.call("runc", "exec", [ids.peer, "/bin/true"]);
const agentTimes: number[] = [];

try {
  for (let index = 0; index < warmUps; index += 1) {
    await ours();
    await peer();
    await agent();
  }
  const times = await interleave(pairs, ours, async () => {
    agentTimes.push(await agent());
    return peer();
  });
  printTimes("exec of /bin/true", {
    "bulkhead-oci exec": times.a,
    "the agent's exec": agentTimes,
    "runc exec": times.b,
  });
  const ratio = median(times.a) / median(times.b);
  printFigures({
    bench: "exec-latency",
    p50Ms: median(times.a),
    p99Ms: percentile(times.a, 0.99),
    peerP50Ms: median(times.b),
    agentP50Ms: median(agentTimes),
    agentRatio: median(agentTimes) / median(times.b),
    ratio,
    better: "lower",
    goal: `bulkhead-oci exec / runc exec <= ${goal}`,
    met: ratio <= goal,
  });
} finally {
  await bundle.call(runtime, "delete", ["--force", ids.ours]);
  await bundle.call("runc", "delete", ["--force", ids.peer]);
  await run.stop(0);
  await run.ended;
  await run.release();
  await rig.runtime.remove(assignment.instanceId);
}
