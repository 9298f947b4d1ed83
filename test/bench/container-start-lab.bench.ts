/**
 * container-start against `crun run`, which refuses mixed cgroup hierarchies: inside a lab host (cgroup v2, Linux 6.1, in
 * software), where only the ratio says something. Takes the same options.
 */
import { resolve } from "node:path";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Lab } from "../lab/lab.ts";

// The lab host cannot download; it finds the image in the cache.
await busyboxImage();
await using lab = await Lab.boot({ modprobe: [] });
const bench = resolve(import.meta.dirname, "container-start.bench.ts");
const command = [process.execPath, bench, "--peer", "crun", "--pairs", "60", ...process.argv.slice(2)];
const { code, stdout, stderr } = await lab.run(command, {
  timeoutMs: 1_800_000,
  onOutput: (text) => process.stderr.write(text),
});
if (code !== 0) throw new Error(`it ended with ${code}:\n${stderr}`);
process.stdout.write(stdout);
