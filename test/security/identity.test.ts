// CVE-2016-3697, CVE-2026-30892: who a process becomes, by the words of an API and the files of a hostile image.
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Stage, type RunningInstance } from "./stage.ts";

let stage: Stage;
let run: RunningInstance;

beforeAll(async () => {
  stage = await Stage.open();
  run = await stage.rig.start(stage.shell("exec sleep 1000"));
});
afterEach(() => stage.rig.runtime.settled());
afterAll(() => stage[Symbol.asyncDispose]());

test.each([
  ["app", "1234:1234"],
  ["0", "0:0"],
  ["1000", "1000:0"],
  ["1000:7", "1000:7"],
  ["app:root", "1234:0"],
  ["4294967294", "refused"],
  ["4294967295", "refused"],
  ["4294967296", "refused"],
  ["18446744073709551616", "refused"],
  ["-1", "refused"],
  ["+0", "refused"],
  [" 0", "refused"],
  ["0x0", "refused"],
  ["app:", "refused"],
  [":0", "refused"],
  ["1000:", "refused"],
  ["x:y", "refused"],
  ["app:app:root", "refused"],
  ["../root", "refused"],
])("%j is %s, at start and at exec", async (user, expected) => {
  const started = await stage.rig.run(stage.shell("echo $(id -u):$(id -g)", { user })).then(
    ({ output }) => output.trim(),
    () => "refused",
  );
  const executed = await stage.exec(run, ["sh", "-c", "echo $(id -u):$(id -g)"], { user }).then(
    (output) => output.trim(),
    () => "refused",
  );
  expect({ started, executed }).toEqual({ started: expected, executed: expected });
});
