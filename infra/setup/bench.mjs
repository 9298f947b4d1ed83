import { readdirSync } from "node:fs";
import { join } from "node:path";
import { runShown } from "./command.mjs";
import { pinnedEnvironment, pinnedNode, root } from "./paths.mjs";
import { runMain, SetupError } from "./progress.mjs";
import { setUp } from "./setup.mjs";

const folder = join(root, "test", "bench");

await runMain(async () => {
  const [name, ...options] = process.argv.slice(2);
  const known = readdirSync(folder)
    .filter((file) => file.endsWith(".bench.ts"))
    .map((file) => file.slice(0, -".bench.ts".length));
  if (name === undefined || !known.includes(name)) {
    throw new SetupError({
      what: "npm run bench",
      why: name === undefined ? "no benchmark was named" : `there is no benchmark ${name}`,
      remedy: `npm run bench -- NAME, where NAME is one of: ${known.join(", ")}`,
    });
  }
  await setUp({ groups: ["run", "test"], needsRoot: "npm run bench" });
  return runShown(pinnedNode, [join(folder, `${name}.bench.ts`), ...options], { env: pinnedEnvironment() });
});
