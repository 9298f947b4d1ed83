/**
 * oci-start against `crun run` inside a lab host, as container-start-lab is. Takes the same options. Measured with ten
 * pairs on a quiet machine, one processor after the other: 0.32 (79 ms against 250 ms of crun 1.8.1).
 */
import { benchInLab } from "./in-lab.ts";

await benchInLab("oci-start", ["--peer", "crun", "--pairs", "60"]);
