import { type Digest, type ImageConfig, fleetError } from "@bulkhead/contracts";
import { type Static, Type } from "typebox";
import { parseDigest } from "../digest.ts";
import { parseDocument } from "./document.ts";

// Docker writes null where the OCI specification leaves a field out.
const Nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Optional(Type.Union([schema, Type.Null()]));

const Words = Nullable(Type.Array(Type.String()));
const Keys = Nullable(Type.Record(Type.String(), Type.Unknown()));

const RawConfig = Type.Object({
  architecture: Type.String(),
  os: Type.String(),
  config: Nullable(
    Type.Object({
      Entrypoint: Words,
      Cmd: Words,
      Env: Words,
      User: Nullable(Type.String()),
      WorkingDir: Nullable(Type.String()),
      StopSignal: Nullable(Type.String()),
      ExposedPorts: Keys,
      Volumes: Keys,
      Labels: Nullable(Type.Record(Type.String(), Type.String())),
    }),
  ),
  rootfs: Type.Object({ type: Type.Literal("layers"), diff_ids: Nullable(Type.Array(Type.String())) }),
});

export interface ParsedConfig {
  readonly config: ImageConfig;
  /** mount points the image declares as volumes */
  readonly volumes: readonly string[];
  /** digests of the uncompressed layers, lowest first */
  readonly diffIds: readonly Digest[];
}

const strings = (raw: Static<typeof RawConfig>["config"]) => ({
  entrypoint: raw?.Entrypoint ?? [],
  cmd: raw?.Cmd ?? [],
  env: raw?.Env ?? [],
});

/** NUL cannot be passed to a program, and a kernel would silently cut the text there. */
const refuseNul = (values: readonly string[], what: string): void => {
  if (values.some((value) => value.includes("\0"))) {
    throw fleetError("IMAGE_INVALID", `${what} has a NUL character in a command, variable, user or directory`);
  }
};

/** OCI image configuration (image-spec config.md). Throws IMAGE_INVALID. */
export const parseConfig = (bytes: Uint8Array, what: string): ParsedConfig => {
  const raw = parseDocument(RawConfig, bytes, what);
  const words = strings(raw.config);
  const user = raw.config?.User ?? "";
  const workingDir = raw.config?.WorkingDir ?? "";
  refuseNul([...words.entrypoint, ...words.cmd, ...words.env, user, workingDir], what);
  const misnamed = words.env.find((entry) => entry.indexOf("=") < 1);
  if (misnamed !== undefined) {
    throw fleetError("IMAGE_INVALID", `${what} has the environment entry "${misnamed.slice(0, 100)}" without a name`);
  }
  return {
    config: {
      architecture: raw.architecture,
      os: raw.os,
      ...words,
      user,
      workingDir,
      stopSignal: raw.config?.StopSignal || null,
      exposedPorts: Object.keys(raw.config?.ExposedPorts ?? {}),
      labels: { ...raw.config?.Labels },
    },
    volumes: Object.keys(raw.config?.Volumes ?? {}),
    diffIds: (raw.rootfs.diff_ids ?? []).map((id, at) => parseDigest(id, `${what}, diff_ids ${at}`)),
  };
};

/** Throws IMAGE_INVALID unless the image runs on this fleet's machines. */
export const requireLinuxAmd64 = (config: ImageConfig, what: string): void => {
  if (config.os === "linux" && config.architecture === "amd64") return;
  throw fleetError("IMAGE_INVALID", `${what} is for ${config.os}/${config.architecture}; hosts run linux/amd64`);
};
