/**
 * `bulkhead-oci run` against `runc run` as whole processes, spawn to exit, of the very same bundle (mounted root, user
 * and network namespaces, seccomp, limits), interleaved, at least 200 pairs.
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

await using rig = await Rig.open();
const image = await rig.image(await busyboxImage());
const assignment = rig.assignment(image, {
  command: ["/bin/true"],
  resources: { cpuMillis: 500, cpuLimitMillis: 500, pidsMax: 64 },
});
await using bundle = await RuncBundle.prepare(rig, assignment);

for (let index = 0; index < warmUps; index += 1) {
  await bundle.run(0, runtime);
  await bundle.run();
}
const times = await interleave(
  pairs,
  () => bundle.run(0, runtime),
  () => bundle.run(),
);

printTimes("run of /bin/true, whole process", {
  "bulkhead-oci run": times.a,
  "runc run": times.b,
});
const ratio = median(times.a) / median(times.b);
printFigures({
  bench: "oci-start",
  p50Ms: median(times.a),
  p99Ms: percentile(times.a, 0.99),
  peerP50Ms: median(times.b),
  ratio,
  better: "lower",
  goal: `bulkhead-oci run / runc run <= ${goal}`,
  met: ratio <= goal,
});
