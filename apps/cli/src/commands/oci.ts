import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Run, UsageError } from "../command.ts";

/** Where the native build leaves it. */
const runtime = fileURLToPath(new URL("../../../../native/namespaces/build/bulkhead-oci", import.meta.url));

/** `bulkhead oci`: this process becomes the native program, with its descriptors, signals and exit status. */
export const run: Run = async (invocation) => {
  if (!existsSync(runtime)) throw new UsageError(`The native build is missing: ${runtime}. Run \`npm run setup\`.`);
  if (process.execve === undefined) throw new UsageError("This Node cannot become another program.");
  const environment = Object.entries(invocation.environment).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  process.execve(runtime, ["bulkhead-oci", ...invocation.rest], Object.fromEntries(environment));
};
