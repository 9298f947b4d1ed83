/**
 * container-start against `crun run`, which refuses mixed cgroup hierarchies: inside a lab host (cgroup v2, Linux 6.1, in
 * software), where only the ratio says something. Takes the same options. Measured with ten pairs on a quiet machine, one
 * processor after the other: 0.27 (65 ms against 244 ms of crun 1.8.1).
 */
import { benchInLab } from "./in-lab.ts";

await benchInLab("container-start", ["--peer", "crun", "--pairs", "60"]);
