import { readFileSync } from "node:fs";
import { isFleetError } from "@bulkhead/contracts/errors";
import { type Run, UsageError } from "../command.ts";
import { formatValue } from "../output.ts";

const ownVersion = (): string => {
  const manifest: { version: string } = JSON.parse(
    readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
  ) as { version: string };
  return manifest.version;
};

/** `bulkhead version`: also without an API. */
export const run: Run = async (invocation) => {
  let api: string;
  try {
    api = (await invocation.client().information()).version;
  } catch (error) {
    if (!isFleetError(error) && !(error instanceof UsageError)) throw error;
    api = "unreachable";
  }
  const versions = { cli: ownVersion(), api, node: process.version };
  if (invocation.format !== "table") invocation.print(await formatValue(versions, invocation.format));
  else
    invocation.print(
      Object.entries(versions)
        .map(([name, version]) => `${name} ${version}\n`)
        .join(""),
    );
};
