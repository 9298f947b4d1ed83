import { Type, type Static } from "typebox";
import { Digest, Name, Timestamp } from "./ids.ts";

const closed = { additionalProperties: false } as const;

export const ImageConfig = Type.Object(
  {
    architecture: Type.String(),
    os: Type.String(),
    entrypoint: Type.Array(Type.String()),
    cmd: Type.Array(Type.String()),
    env: Type.Array(Type.String()),
    user: Type.String(),
    workingDir: Type.String(),
    stopSignal: Type.Union([Type.String(), Type.Null()]),
    exposedPorts: Type.Array(Type.String()),
    labels: Type.Record(Type.String(), Type.String()),
  },
  { ...closed, description: "what the OCI image configuration says about running it" },
);
export type ImageConfig = Static<typeof ImageConfig>;

export const Image = Type.Object(
  {
    digest: Digest,
    project: Name,
    names: Type.Array(Type.String()),
    sizeBytes: Type.Integer({ minimum: 0 }),
    layers: Type.Array(Type.Object({ digest: Digest, sizeBytes: Type.Integer({ minimum: 0 }) }, closed)),
    config: ImageConfig,
    source: Type.Union([Type.String(), Type.Null()], {
      description: "registry reference it was last pulled from; null when it was imported",
    }),
    createdAt: Timestamp,
  },
  { ...closed, $id: "Image" },
);
export type Image = Static<typeof Image>;

/** `name` or `name:tag`, with a registry's `host:port/` in front or not; a missing tag means `latest`. */
export const ImageName = Type.String({
  pattern: "^([a-z0-9.-]+:[0-9]{1,5}/)?[a-z0-9]+((\\.|_{1,2}|-+|/)[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$",
  maxLength: 255,
});

/** Asks the scheduler to fetch an image from a registry. */
export const PullImage = Type.Object(
  {
    reference: Type.String({
      minLength: 1,
      maxLength: 512,
      description: "`[registry/]repository[:tag][@sha256:…]`; without a registry Docker's, without a tag `latest`",
    }),
    name: Type.Optional(Type.String({ ...ImageName, description: "name to run it by; default: the reference itself" })),
  },
  { ...closed, $id: "PullImage" },
);
export type PullImage = Static<typeof PullImage>;
