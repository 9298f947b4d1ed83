import { Type, type Static } from "typebox";
import { Digest, Name, Timestamp } from "./ids.ts";

const closed = { additionalProperties: false } as const;

/** Largest kernel file that a host boots, in bytes; Debian's is 8 MB, one with everything built in below 100. */
export const maximumKernelBytes = 128 * 2 ** 20;

/** A kernel's release as it names its files and itself: one part of a path, never `.` or `..`. */
export const kernelReleasePattern = "^[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}$";

/** Gives an image of the project, which holds a kernel and its modules, a name as a kernel. */
export const CreateKernel = Type.Object(
  {
    name: Name,
    image: Type.String({
      minLength: 1,
      maxLength: 512,
      description: "name or digest of an image with boot/vmlinuz-RELEASE and lib/modules/RELEASE in it",
    }),
    default: Type.Optional(
      Type.Boolean({ description: "the project's machines that name no kernel get this one from now on" }),
    ),
  },
  { ...closed, $id: "CreateKernel" },
);
export type CreateKernel = Static<typeof CreateKernel>;

export const Kernel = Type.Object(
  {
    project: Name,
    name: Name,
    digest: Type.Unsafe<Digest>({ ...Digest, description: "of its image, by which hosts get it" }),
    release: Type.String({ pattern: kernelReleasePattern, description: "as `uname -r` says it inside" }),
    architecture: Type.String(),
    default: Type.Boolean({ description: "machines of its project that name no kernel get it" }),
    workloads: Type.Array(Name, { description: "that run on it" }),
    createdAt: Timestamp,
  },
  { ...closed, $id: "Kernel" },
);
export type Kernel = Static<typeof Kernel>;
