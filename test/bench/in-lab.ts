import { resolve } from "node:path";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Lab, type LabOptions } from "../lab/lab.ts";

/** Of the boot and of the run: a benchmark is worth waiting for. */
const longestMs = 3_600_000;

interface InLab {
  /** of the lab host */
  readonly host?: LabOptions;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs another benchmark inside a lab host, where only its ratio says something; what it prints is printed. */
export const benchInLab = async (
  name: string,
  options: readonly string[],
  { host = { modprobe: [], inTurns: true }, env = {} }: InLab = {},
): Promise<void> => {
  // The lab host cannot download; it finds the image in the cache.
  await busyboxImage();
  await using lab = await Lab.boot({ bootMs: longestMs, ...host });
  const bench = resolve(import.meta.dirname, `${name}.bench.ts`);
  const { code, stdout, stderr } = await lab.run([process.execPath, bench, ...options, ...process.argv.slice(2)], {
    timeoutMs: longestMs,
    env,
    onOutput: (text) => process.stderr.write(text),
  });
  if (code !== 0) throw new Error(`it ended with ${code}:\n${stderr}`);
  process.stdout.write(stdout);
};
