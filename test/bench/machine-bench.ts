import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const build = join(import.meta.dirname, "../../native/kvm/build");

export const monitorPath = join(build, "bulkhead-vmm");
/** native/kvm/test/machine_bench.cc, whose first lines say what it can be asked. */
export const machineBenchPath = join(build, "machine-bench");

/** native/kvm/test/restore_bench.cc, likewise. */
export const restoreBenchPath = join(build, "restore-bench");

/** Builds what benchmarks of machines run; nothing when it is there and new. */
export const buildMachineBench = async (): Promise<void> => {
  await run("cmake", ["--build", build, "--target", "bulkhead-vmm", "machine-bench", "restore-bench"]);
};

/** One answer of the helper. */
export const askMachineBench = async <Answer>(...words: readonly (string | number)[]): Promise<Answer> => {
  const { stdout } = await run(machineBenchPath, words.map(String));
  return JSON.parse(stdout) as Answer;
};

/** The image of a guest of five instructions: it says a line on its serial port and waits. */
export const helloGuest = async (): Promise<Buffer> => {
  const { stdout } = await run(machineBenchPath, ["guest"], { encoding: "buffer" });
  return stdout;
};
