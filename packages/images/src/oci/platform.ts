import { fleetError } from "@bulkhead/contracts";
import { type Descriptor, isIndex, isManifest } from "./manifest.ts";

const ours = { os: "linux", architecture: "amd64" } as const;

/** An entry without a platform says nothing against it: its configuration decides. */
export const runsHere = ({ platform, annotations }: Descriptor): boolean =>
  annotations["vnd.docker.reference.type"] === undefined &&
  (platform === undefined || (platform.os === ours.os && platform.architecture === ours.architecture));

const nameOf = ({ platform }: Descriptor): string | undefined => {
  if (platform === undefined || platform.os === "unknown") return undefined;
  const variant = platform.variant === undefined ? "" : `/${platform.variant}`;
  return `${platform.os}/${platform.architecture}${variant}`;
};

/** The entry for this fleet's machines, the first when several are. Throws IMAGE_PLATFORM_MISSING with what there is. */
export const chooseEntry = (entries: readonly Descriptor[], what: string): Descriptor => {
  const usable = entries.filter((entry) => isManifest(entry) || isIndex(entry));
  // One that says its platform before one that says nothing.
  const named = usable.find((entry) => entry.platform !== undefined && runsHere(entry));
  const chosen = named ?? usable.find(runsHere);
  if (chosen !== undefined) return chosen;
  throw missing(what, [...new Set(usable.map(nameOf).filter((name) => name !== undefined))]);
};

/** IMAGE_PLATFORM_MISSING, naming what the image has instead. */
export const missing = (what: string, has: readonly string[]) =>
  fleetError(
    "IMAGE_PLATFORM_MISSING",
    `${what} has no image for ${ours.os}/${ours.architecture}; it has ${has.length === 0 ? "none" : has.join(", ")}.`,
  );
