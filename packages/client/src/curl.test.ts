import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { curlOf } from "./curl.ts";
import { Transport } from "./transport.ts";

const transport = new Transport({ url: "http://127.0.0.1:7480", token: "secret" });

test("the token is read from the environment, never shown", () => {
  const line = curlOf(transport.prepare({ method: "GET", path: "/v1/hosts" }));
  expect(line).toBe(
    'curl --silent --show-error --header "Authorization: Bearer $BULKHEAD_TOKEN" http://127.0.0.1:7480/v1/hosts',
  );
});

test("a shell gives the body back as it was", () => {
  const body = { name: "it's", text: 'a "b" $HOME `id` \\ \n' };
  const line = curlOf(transport.prepare({ method: "POST", path: "/v1/workloads", json: body }));
  const words = execFileSync("sh", ["-c", `printf '%s\\0' ${line}`])
    .toString()
    .split("\0");
  expect(JSON.parse(words[words.indexOf("--data") + 1] ?? "")).toEqual(body);
  expect(words).toContain("POST");
});

test("a streamed body is named as a file", () => {
  const stream = (async function* () {})();
  const line = curlOf(transport.prepare({ method: "POST", path: "/v1/images", stream, streamName: "my image.tar" }));
  expect(line).toContain("--data-binary '@my image.tar'");
});
