import { expect, test } from "vitest";
import { digestOf } from "../digest.ts";
import { parseConfig, requireLinuxAmd64 } from "./image-config.ts";

const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const base = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [digestOf("x")] } };

test("every field that running an image needs is read", () => {
  const parsed = parseConfig(
    bytes({
      ...base,
      config: {
        Entrypoint: ["/init"],
        Cmd: ["serve"],
        Env: ["A=b", "EMPTY="],
        User: "app:app",
        WorkingDir: "/srv",
        StopSignal: "SIGQUIT",
        ExposedPorts: { "80/tcp": {} },
        Volumes: { "/data": {} },
        Labels: { a: "b" },
      },
    }),
    "the configuration",
  );
  expect(parsed).toEqual({
    config: {
      architecture: "amd64",
      os: "linux",
      entrypoint: ["/init"],
      cmd: ["serve"],
      env: ["A=b", "EMPTY="],
      user: "app:app",
      workingDir: "/srv",
      stopSignal: "SIGQUIT",
      exposedPorts: ["80/tcp"],
      labels: { a: "b" },
    },
    volumes: ["/data"],
    diffIds: [digestOf("x")],
  });
});

test("absent and null fields are empty", () => {
  const empty = parseConfig(bytes(base), "x").config;
  expect(parseConfig(bytes({ ...base, config: { Cmd: null, Env: null, Labels: null, User: "" } }), "x").config).toEqual(
    empty,
  );
  expect(empty).toMatchObject({ entrypoint: [], cmd: [], env: [], user: "", stopSignal: null });
});

test.each([
  ["no JSON", Buffer.from("{")],
  ["invalid UTF-8", Buffer.from([0x22, 0xff, 0x22])],
  ["an array", bytes([])],
  ["no architecture", bytes({ os: "linux", rootfs: base.rootfs })],
  ["a command that is a string", bytes({ ...base, config: { Cmd: "sh" } })],
  ["a NUL in a variable", bytes({ ...base, config: { Env: ["A=b\0c"] } })],
  ["a variable without a name", bytes({ ...base, config: { Env: ["=b"] } })],
  ["a diff id that is no digest", bytes({ ...base, rootfs: { type: "layers", diff_ids: ["sha256:../../etc"] } })],
])("%s is IMAGE_INVALID", (_, document) => {
  expect(() => parseConfig(document, "the configuration")).toThrow(expect.objectContaining({ code: "IMAGE_INVALID" }));
});

test("the place of a fault is named", () => {
  expect(() => parseConfig(bytes({ ...base, config: { Cmd: [1] } }), "configuration X")).toThrow(
    /configuration X.*\/config/,
  );
});

test("another machine's image is refused", () => {
  const { config } = parseConfig(bytes({ ...base, architecture: "arm64" }), "x");
  expect(() => requireLinuxAmd64(config, "x")).toThrow(/linux\/arm64/);
});

test.each([
  ["a label", { Labels: { a: "b\0" } }, "/config/Labels/a"],
  ["a label's name", { Labels: { "a\ud83d": "b" } }, "/config/Labels/a\ufffd"],
  ["the environment", { Env: ["A=\0"] }, "/config/Env/0"],
])("text that no database keeps is refused: %s", (_what, config, pointer) => {
  expect(() => parseConfig(bytes({ ...base, config }), "the configuration")).toThrow(
    expect.objectContaining({ code: "IMAGE_INVALID", message: expect.stringContaining(`at ${pointer}`) }),
  );
});
