/**
 * container-start against `crun run`, which refuses mixed cgroup hierarchies: inside a lab host (cgroup v2, Linux 6.1, in
 * software), where only the ratio says something. Takes the same options.
 */
import { benchInLab } from "./in-lab.ts";

await benchInLab("container-start", ["--peer", "crun", "--pairs", "60"]);
