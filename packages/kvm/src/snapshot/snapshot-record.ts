import { Assignment, SnapshotId, TakenSnapshot } from "@bulkhead/contracts";
import { Type, type Static } from "typebox";
import { Compile } from "typebox/compile";

const count = Type.Integer({ minimum: 0 });
const words = Type.Array(Type.String());

/** A file as it was written; `digest` is `digestOf`'s. */
const written = Type.Object({ sizeBytes: count, digest: Type.String({ pattern: "^[0-9a-f]{64}$" }) });

/** What is known of a snapshot's files: enough to tell whether they are those that were made, and to start from them. */
export const SnapshotRecord = Type.Object(
  {
    version: Type.Literal(2),
    snapshotId: SnapshotId,
    taken: TakenSnapshot,
    /** of the instance that was taken */
    assignment: Assignment,
    process: Type.Object({ args: words, env: words, cwd: Type.String(), user: Type.String(), stopSignal: count }),
    /** release of its guest's kernel, where that is known */
    kernel: Type.Optional(Type.String()),
    /** what each file is: of the image, which is the host's, the size alone */
    files: Type.Object({ state: written, memory: written, disk: written, image: Type.Object({ sizeBytes: count }) }),
    settingsBytes: count,
  },
  { additionalProperties: false },
);
export type SnapshotRecord = Static<typeof SnapshotRecord>;

const check = Compile(SnapshotRecord);

/** null: it is none of ours. */
export const parseSnapshotRecord = (text: string): SnapshotRecord | null => {
  try {
    const value: unknown = JSON.parse(text);
    return check.Check(value) ? value : null;
  } catch {
    return null;
  }
};
