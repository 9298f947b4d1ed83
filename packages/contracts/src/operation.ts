import { Type, type Static } from "typebox";
import { Digest, Name, OperationId, Timestamp } from "./ids.ts";
import { Problem } from "./problem.ts";

const closed = { additionalProperties: false } as const;

export const operationKinds = [
  "workload.create",
  "workload.update",
  "workload.delete",
  "instance.stop",
  "instance.restart",
  "instance.pause",
  "instance.resume",
  "instance.kill",
  "image.import",
  "image.pull",
  "snapshot.create",
  "snapshot.verify",
] as const;

export const layerStates = ["waiting", "fetching", "verifying", "ready"] as const;

/** How far one layer of an image is on its way to the store. */
export const LayerProgress = Type.Object(
  {
    digest: Digest,
    sizeBytes: Type.Integer({ minimum: 0, description: "as stored" }),
    doneBytes: Type.Integer({ minimum: 0, description: "of them, those that have arrived" }),
    state: Type.Enum(layerStates),
  },
  { ...closed, $id: "LayerProgress" },
);
export type LayerProgress = Static<typeof LayerProgress>;

/** Long work that outlives its request; ends as `succeeded` or `failed` and survives a scheduler restart. */
export const Operation = Type.Object(
  {
    id: OperationId,
    project: Name,
    kind: Type.Enum(operationKinds),
    state: Type.Union([Type.Literal("running"), Type.Literal("succeeded"), Type.Literal("failed")]),
    target: Type.Object({ type: Type.String(), id: Type.String() }, closed),
    progress: Type.Union([Type.String(), Type.Null()], { description: "what is happening now, for people" }),
    layers: Type.Union([Type.Array(LayerProgress), Type.Null()], {
      description: "of the image that is pulled, lowest first; null for other kinds and until the manifest is there",
    }),
    error: Type.Union([Problem, Type.Null()]),
    traceId: Type.Union([Type.String(), Type.Null()]),
    createdAt: Timestamp,
    finishedAt: Type.Union([Timestamp, Type.Null()]),
  },
  { ...closed, $id: "Operation" },
);
export type Operation = Static<typeof Operation>;
export type OperationKind = (typeof operationKinds)[number];
