import { workspacesWith } from "./build.mjs";
import { runLogged } from "./command.mjs";
import { binary, pinnedEnvironment } from "./paths.mjs";
import { createProgress, describeFailure, runMain, SetupError } from "./progress.mjs";
import { setUp } from "./setup.mjs";

/** What continuous integration checks besides the tests; `remedy` is what a developer types. */
const checks = [
  { title: "format of TypeScript (oxfmt)", command: "oxfmt", args: ["--check", "."], remedy: "npm run format" },
  {
    title: "lint, type-aware (oxlint)",
    command: "oxlint",
    args: ["--type-aware", "--deny-warnings"],
    remedy: "mend what it names; npx oxlint --fix mends some",
  },
  { title: "types (tsc)", command: "tsc", args: ["--noEmit"], remedy: "mend what it names" },
  { title: "unused exports, files and dependencies (knip)", command: "knip", args: [], remedy: "remove what it names" },
  { title: "format of C++ (clang-format)", turbo: "lint:native", remedy: "clang-format -i FILE" },
  {
    title: "generated pages are those of the sources",
    turbo: "docs:check",
    remedy: "npm run docs, and commit the result",
  },
];

await runMain(async () => {
  await setUp({ groups: ["run", "check"] });
  const progress = createProgress();
  const failures = [];
  for (const { title, command, args, turbo, remedy } of checks) {
    if (turbo !== undefined && workspacesWith(turbo).length === 0) continue;
    try {
      await progress.step(title, async () => {
        await runLogged({
          what: title,
          remedy,
          log: `check-${turbo ?? command}`.replace(":", "-"),
          command: binary(command ?? "turbo"),
          args: args ?? ["run", turbo, "--output-logs=errors-only", "--continue"],
          env: pinnedEnvironment(),
        });
      });
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      failures.push(error.failure);
    }
  }
  for (const failure of failures) process.stderr.write(describeFailure(failure));
  return failures.length === 0 ? 0 : 1;
});
