// One start in a process of its own, which may have been refused something: its outcome as JSON. `ahead`: born ahead.
// `cpus`: where it is to run.
import { Area, eventually, hostState } from "../../test/fixture.ts";
import { compilePlan, NativeError, PreparedStart, start } from "../index.ts";

const [way, cpus = ""] = process.argv.slice(2);
const namespaces = ["mount", "pid", "network", "ipc", "uts", "user", "cgroup"] as const;

const begin = async (area: Area) => {
  const plan = compilePlan(
    area.input(["grep", "Cpus_allowed_list", "/proc/self/status"], (input) => {
      if (cpus !== "") input.spec.linux!.resources = { cpu: { cpus } };
    }),
  );
  if (way !== "ahead") return { plan, prepared: null };
  return { plan, prepared: new PreparedStart({ birth: { namespaces, cgroup: area.cgroup } }) };
};

await using area = new Area();
const before = hostState();
const outcome = await (async () => {
  const { plan, prepared } = await begin(area);
  await using _prepared = prepared;
  const started = prepared === null ? await start(plan) : await prepared.run(plan);
  const { exitCode } = await area.ended(started);
  return { exitCode, said: area.output("stdout") };
})().catch((error: unknown) => {
  if (!(error instanceof NativeError)) throw error;
  const { step, op, code } = error;
  return { step, op, code, left: area.cgroupsLeft() };
});
const leftOver = (): boolean => hostState().children.some((pid) => !before.children.includes(pid));
await eventually(() => !leftOver(), "the shim is gone and reaped");
process.stdout.write(JSON.stringify(outcome));
