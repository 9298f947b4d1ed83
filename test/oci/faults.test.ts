// Every system call of bulkhead-oci and of what it starts, failing once or being the last of a process. Drawn by a seed
// here; the whole sweep takes minutes:
//   native/namespaces/build/oci-sweep create|start|exec|delete fail|kill --all
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { execute, Place, runtimePath } from "./runtime.ts";

const casesPerSweep = 60;

test.each([
  ["create", "fail", "a failed create leaves nothing, and an interrupted call is repeated"],
  ["create", "kill", "whoever is killed, the id can be deleted and used again"],
  ["start", "fail", "a failed start leaves a container that can be deleted"],
  ["start", "kill", "a start that was cut off leaves one too"],
  ["exec", "fail", "a failed exec leaves the container as it was"],
  ["exec", "kill", "a killed exec too"],
  ["delete", "fail", "a failed delete can be repeated"],
  ["delete", "kill", "a killed one too"],
])("%s, %s: %s", async (verb, kind) => {
  const sweep = join(dirname(runtimePath), "oci-sweep");
  const seed = Math.floor(Math.random() * 2 ** 31);
  const cases = ["--cases", String(casesPerSweep), "--seed", String(seed)];
  const { stdout, stderr } = await execute(sweep, [verb, kind, ...cases]);
  expect(stderr, `seed ${seed}`).toBe("");
  const summary = JSON.parse(stdout) as { cases: number; hits: number; violations: number };
  expect(summary).toMatchObject({ seed, violations: 0 });
  // Some calls are not made in every run, but most are.
  expect(summary.hits).toBeGreaterThan(summary.cases / 4);
});

test("eight runtimes that make and delete one id at once never share it, and leave nothing", async () => {
  await using place = new Place();
  const bundle = place.bundle(["sleep", "1000"]);
  const rounds = 12;
  const created: boolean[] = [];
  const unexpected: string[] = [];
  const one = async (worker: number): Promise<void> => {
    for (let round = 0; round < rounds; round += 1) {
      // To files: what a container holds of a pipe would keep it from its end.
      const log = join(place.path, `log-${worker}-${round}`);
      const create = [runtimePath, "--root", place.root, "--log", log, "create", "--bundle", bundle, "one"];
      const { status } = await execute("sh", ["-c", 'exec "$@" </dev/null >/dev/null 2>&1', "sh", ...create]);
      created.push(status === 0);
      // Taken already, or taken away half-made: an answer either way, and no crash.
      const said = status === 0 ? "" : readFileSync(log, "utf8");
      if (status !== 0 && !/^time=.* level=error msg=.*\n$/.test(said)) unexpected.push(`${status}: ${said}`);
      const deleted = await place.run(["delete", "--force", "one"]);
      // Whoever deletes it at the same moment has done the same.
      if (deleted.status !== 0 && !deleted.stderr.includes("does not exist")) unexpected.push(deleted.stderr);
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, worker) => one(worker)));
  expect(unexpected).toEqual([]);
  expect(created).toHaveLength(8 * rounds);
  expect(created).toContain(true);
  await place.must(["delete", "--force", "one"]);
  expect(place.cgroups()).toEqual([]);
  await place.create("one", bundle);
  expect((await place.state("one")).status).toBe("created");
});
