/**
 * container-start against `crun run`, which refuses mixed cgroup hierarchies: inside a lab host (cgroup v2, Linux 6.1, in
 * software), where only the ratio says something. Takes the same options. Measured with twelve pairs on a busy machine:
 * 0.07 (136 ms against 1,875 ms of crun 1.8.1).
 */
import { benchInLab } from "./in-lab.ts";

await benchInLab("container-start", ["--peer", "crun", "--pairs", "60"]);
