import { isFleetError, type InstanceReason } from "@bulkhead/contracts";
import { StartFailure } from "./runtime.ts";

const imageReasons: Readonly<Record<string, InstanceReason>> = {
  IMAGE_INVALID: "ImageInvalid",
  IMAGE_DIGEST_MISMATCH: "ImageInvalid",
  IMAGE_TOO_LARGE: "ImageInvalid",
  IMAGE_UNAVAILABLE: "ImageUnavailable",
  KERNEL_INVALID: "ImageInvalid",
  KERNEL_TOO_LARGE: "ImageInvalid",
  UNAUTHENTICATED: "ImageUnavailable",
  FORBIDDEN: "ImageUnavailable",
  NO_CAPACITY: "ResourceExhausted",
};

/** Why an image could not be made ready, as the instance will show it. */
export const imageFailure = (cause: unknown): StartFailure => {
  if (cause instanceof StartFailure) return cause;
  if (!isFleetError(cause))
    return new StartFailure("ImageUnavailable", cause instanceof Error ? cause.message : String(cause), cause);
  const full = cause.code === "RUNTIME_FAILED" && /disk .* full/.test(cause.message);
  return new StartFailure(full ? "DiskFull" : (imageReasons[cause.code] ?? "RuntimeFailed"), cause.message, cause);
};
