import { existsSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runLogged } from "./command.mjs";
import { binary, logDirectory, pinnedEnvironment, root, stampFile } from "./paths.mjs";
import { SetupError } from "./progress.mjs";
import { hashFiles, readStamp, sourceFiles, writeStamp } from "./stamp.mjs";

const scriptOwners = ["native", "packages", "apps"];

/** Workspace folders whose package.json has a script of this name. */
export const workspacesWith = (script) =>
  scriptOwners
    .flatMap((group) =>
      existsSync(join(root, group)) ? readdirSync(join(root, group)).map((name) => join(group, name)) : [],
    )
    .filter((folder) => {
      const manifest = join(root, folder, "package.json");
      return existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).scripts?.[script] !== undefined;
    });

/** Files that decide what the native build and the generators make. */
const inputs = () => [
  join(root, "package-lock.json"),
  join(root, "turbo.json"),
  ...sourceFiles(join(root, "native")),
  ...workspacesWith("generate").flatMap((folder) => [
    join(root, folder, "package.json"),
    ...sourceFiles(join(root, folder, "prisma")).filter((file) => file.endsWith(".prisma")),
  ]),
];

const missingOutputs = () =>
  [
    ...workspacesWith("native:build").map((folder) => join(folder, "build")),
    ...workspacesWith("generate").map((folder) => join(folder, "src", "generated")),
  ].filter((folder) => !existsSync(join(root, folder)));

/** What tests need on top: sanitized and fault-injecting builds of the native core, which take minutes of CPU time. */
const tasksOf = (tests) => ["generate", "native:build", ...(tests ? ["native:build-tests"] : [])];

/** True when the native programs and generated code are those of the sources; with `tests` also those only tests run. */
export const isBuilt = (tests) => {
  const stamp = readStamp(stampFile);
  const hash = hashFiles(root, inputs());
  return stamp.build === hash && (!tests || stamp.buildTests === hash) && missingOutputs().length === 0;
};

/** CMake refuses a build directory that was made for another path, which is what a checkout that was moved has. */
const forgetMovedBuilds = () => {
  for (const folder of workspacesWith("native:build")) {
    const cache = join(root, folder, "build", "CMakeCache.txt");
    if (!existsSync(cache)) continue;
    const [, home] = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, "utf8")) ?? [];
    if (home !== join(root, folder)) rmSync(join(root, folder, "build"), { recursive: true });
  }
};

/** Builds through turbo, which itself skips what has not changed. */
export const build = async (tests) => {
  const hash = hashFiles(root, inputs());
  forgetMovedBuilds();
  await runLogged({
    what: "The native build and code generation",
    remedy: "read the output above; a missing header is a missing Debian package (infra/setup/debian-packages.mjs)",
    log: "build",
    command: binary("turbo"),
    args: ["run", ...tasksOf(tests), "--output-logs=errors-only"],
    // Prisma's generator needs no engine but insists on a path that exists; there is nothing to download.
    env: { ...pinnedEnvironment(), PRISMA_SCHEMA_ENGINE_BINARY: "/bin/true" },
  });
  const absent = missingOutputs();
  if (absent.length > 0) {
    throw new SetupError({
      what: "The native build and code generation",
      why: `it ended well but did not make ${absent.join(", ")}`,
      remedy: "remove .turbo and run the same command again",
      logFile: join(logDirectory, "build.log"),
    });
  }
  writeStamp(stampFile, { ...readStamp(stampFile), build: hash, ...(tests ? { buildTests: hash } : {}) });
};
