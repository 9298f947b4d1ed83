/**
 * `bulkhead-oci run` against `runc run` as whole processes, spawn to exit, of the very same bundle (mounted root, user
 * and network namespaces, seccomp, limits), interleaved, at least 200 pairs.
 * `--peer crun` on a host with cgroup v2 (benchmark oci-start-lab); `--pairs N` for fewer.
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "@bulkhead/namespaces/testing";
import { interleave, median, percentile, printFigures, printTimes } from "./report.ts";
import { RuncBundle } from "./runc-bundle.ts";

const { values: options } = parseArgs({
  options: { peer: { type: "string", default: "runc" }, pairs: { type: "string", default: "220" } },
});
const goals = { runc: 0.3, crun: 1 };
const { peer } = options;
if (peer !== "runc" && peer !== "crun") throw new Error(`--peer is runc or crun, not ${peer}`);
const goal = goals[peer];
const pairs = Number(options.pairs);
if (!Number.isSafeInteger(pairs) || pairs < 1) throw new Error(`--pairs is a number above 0, not ${options.pairs}`);
const warmUps = Math.min(20, pairs);
const runtime = fileURLToPath(new URL("../../native/namespaces/build/bulkhead-oci", import.meta.url));

await using rig = await Rig.open();
const image = await rig.image(await busyboxImage());
const assignment = rig.assignment(image, {
  command: ["/bin/true"],
  resources: { cpuMillis: 500, cpuLimitMillis: 500, pidsMax: 64 },
});
await using bundle = await RuncBundle.prepare(rig, assignment);

for (let index = 0; index < warmUps; index += 1) {
  await bundle.run(0, runtime);
  await bundle.run(0, peer);
}
const times = await interleave(
  pairs,
  () => bundle.run(0, runtime),
  () => bundle.run(0, peer),
);

printTimes("run of /bin/true, whole process", {
  "bulkhead-oci run": times.a,
  [`${peer} run`]: times.b,
});
const ratio = median(times.a) / median(times.b);
printFigures({
  bench: peer === "runc" ? "oci-start" : "oci-start-lab",
  p50Ms: median(times.a),
  p99Ms: percentile(times.a, 0.99),
  peerP50Ms: median(times.b),
  ratio,
  better: "lower",
  goal: `bulkhead-oci run / ${peer} run <= ${goal}`,
  met: ratio <= goal,
});
