import type { ViewMount } from "@bulkhead/contracts";

/** Blanks, tabs, newlines and backslashes are three octal digits there (proc(5)). */
const unescape = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/** Propagation from the optional fields: `shared:N`, `master:N`, `propagate_from:N`, `unbindable`. */
const propagationOf = (fields: readonly string[]): Pick<ViewMount, "propagation" | "peerGroup"> => {
  const numberOf = (name: string): number | undefined => {
    const field = fields.find((text) => text.startsWith(`${name}:`));
    return field === undefined ? undefined : Number(field.slice(name.length + 1));
  };
  const shared = numberOf("shared");
  if (shared !== undefined) return { propagation: "shared", peerGroup: shared };
  const master = numberOf("master");
  if (master !== undefined) return { propagation: "slave", peerGroup: master };
  return { propagation: fields.includes("unbindable") ? "unbindable" : "private", peerGroup: null };
};

/** One line of mountinfo, or null for one that is none. A file system that is read-only itself makes the mount so. */
const parseLine = (line: string): Omit<ViewMount, "share"> | null => {
  const fields = line.split(" ");
  const separator = fields.indexOf("-", 6);
  const [, , device, root, target, mountOptions] = fields;
  const [type, source, superOptions] = fields.slice(separator + 1);
  if (separator < 0 || device === undefined || root === undefined || target === undefined) return null;
  if (mountOptions === undefined || type === undefined || source === undefined || superOptions === undefined)
    return null;
  const options = mountOptions.split(",");
  const readOnly = options.includes("ro") || superOptions.split(",").includes("ro");
  return {
    target: unescape(target),
    source: unescape(source),
    type,
    root: unescape(root),
    device,
    mode: readOnly ? "ro" : "rw",
    options: options.filter((option) => option !== "ro" && option !== "rw" && option !== "idmapped"),
    ...propagationOf(fields.slice(6, separator)),
    idMapped: options.includes("idmapped"),
  };
};

/** /proc/PID/mountinfo as it is seen from that process's root (proc(5)). */
export const parseMountInfo = (text: string): Omit<ViewMount, "share">[] =>
  text.split("\n").flatMap((line) => parseLine(line) ?? []);
