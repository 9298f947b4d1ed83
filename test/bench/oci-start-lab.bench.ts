/** oci-start against `crun run` inside a lab host, as container-start-lab is. Takes the same options. */
import { benchInLab } from "./in-lab.ts";

await benchInLab("oci-start", ["--peer", "crun", "--pairs", "60"]);
