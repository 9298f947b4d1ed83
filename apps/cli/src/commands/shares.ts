import type {
  AttachShare,
  Share,
  ShareChange,
  ShareGraph,
  ShareKind,
  ShareMount,
  ShareUse,
  SharedNamespaceType,
} from "@bulkhead/contracts";
import { sharedNamespaceTypes } from "@bulkhead/contracts";
import { type Invocation, UsageError } from "../command.ts";
import { formatTable, formatValue, printNamed, printObject } from "../output.ts";
import { formatAge, formatBytes, parseBytes } from "../quantity.ts";
import { findInstance } from "./instances.ts";

/** `NAME:/PATH[:rw|ro]`; read-only unless `rw`. */
const parseMount = (text: string): AttachShare & { share: string } => {
  const [share = "", path = "", mode = "ro", extra] = text.split(":");
  if (share === "" || !path.startsWith("/") || (mode !== "ro" && mode !== "rw") || extra !== undefined) {
    throw new UsageError(`--share ${text}: write SHARE:/PATH or SHARE:/PATH:rw, or SHARE for namespaces.`);
  }
  return { share, path, readOnly: mode === "ro" };
};

/** `NAME` for namespaces, else as `parseMount`. */
export const parseShare = (text: string): ShareMount =>
  text === "" || text.includes(":") ? parseMount(text) : { share: text };

const modeOf = ({ path, readOnly }: Pick<ShareUse, "path" | "readOnly">): string =>
  path === null ? "member" : readOnly ? "ro" : "rw";

/** What it is, and of namespaces which ones. */
const kindOf = ({ kind, namespaces }: Pick<ShareGraph["shares"][number], "kind" | "namespaces">): string =>
  namespaces === undefined ? kind : `${kind} (${namespaces.join(", ")})`;

const columns = (now: number) => [
  { title: "SHARE", value: (row: Share) => row.name },
  { title: "KIND", value: (row: Share) => kindOf(row.spec) },
  { title: "SIZE", value: (row: Share) => (row.spec.sizeBytes === undefined ? "-" : formatBytes(row.spec.sizeBytes)) },
  { title: "HOST", value: (row: Share) => row.hostName ?? "-" },
  { title: "LIFETIME", value: (row: Share) => (row.deleting ? "deleting" : (row.spec.lifetime ?? "")) },
  { title: "USERS", value: (row: Share) => row.users.map((use) => `${use.instance} (${modeOf(use)})`).join(", ") },
  { title: "AGE", value: (row: Share) => formatAge(row.createdAt, now) },
];

/** `bulkhead shares` */
export const list = async (invocation: Invocation): Promise<void> => {
  const rows = await Array.fromAsync(invocation.client().shares.list());
  await printNamed(invocation, columns(Date.now()), rows, ({ name }) => name);
};

/** `bulkhead shares inspect SHARE` */
export const inspect = async (invocation: Invocation): Promise<void> => {
  await printObject(invocation, await invocation.client().shares.get(invocation.positionals[0] ?? ""));
};

const ownerOf = (text: string): { uid: number; gid: number } => {
  const match = /^(\d+)(?::(\d+))?$/.exec(text);
  if (match === null) throw new UsageError(`--owner ${text}: write UID or UID:GID.`);
  return { uid: Number(match[1]), gid: Number(match[2] ?? match[1]) };
};

const parseNamespace = (text: string): SharedNamespaceType => {
  const found = sharedNamespaceTypes.find((type) => type === text);
  if (found === undefined)
    throw new UsageError(`--namespace ${text}: write one of ${sharedNamespaceTypes.join(", ")}.`);
  return found;
};

/** `bulkhead shares create NAME` */
export const create = async (invocation: Invocation): Promise<void> => {
  const { options } = invocation;
  const [size, owner, mode] = [options.text("size"), options.text("owner"), options.text("mode")];
  const namespaces = options.list("namespace").map(parseNamespace);
  const share = await invocation.client().shares.create({
    name: invocation.positionals[0] ?? "",
    spec: {
      kind: (options.text("kind") ?? (namespaces.length > 0 ? "namespace" : "directory")) as ShareKind,
      ...(namespaces.length === 0 ? {} : { namespaces }),
      ...(size === undefined ? {} : { sizeBytes: parseBytes(size, "size") }),
      ...(owner === undefined ? {} : { owner: ownerOf(owner) }),
      ...(mode === undefined ? {} : { mode }),
      ...(options.flag("transient") ? { lifetime: "transient" as const } : {}),
    },
  });
  if (invocation.format === "table") invocation.print(`${share.name}\n`);
  else await printObject(invocation, share);
};

/** `bulkhead shares rm SHARE…` */
export const remove = async (invocation: Invocation): Promise<void> => {
  for (const share of invocation.positionals) {
    await invocation.client().shares.remove(share);
    invocation.print(`${share}\n`);
  }
};

interface Edge {
  readonly share: ShareGraph["shares"][number];
  readonly use: ShareUse | undefined;
}

/** `bulkhead shares graph` */
export const graph = async (invocation: Invocation): Promise<void> => {
  const { shares, uses } = await invocation.client().shares.graph();
  if (invocation.format !== "table") {
    invocation.print(await formatValue({ shares, uses }, invocation.format));
    return;
  }
  const edges = shares.flatMap((share): Edge[] => {
    const users = uses.filter((use) => use.share === share.name);
    return users.length === 0 ? [{ share, use: undefined }] : users.map((use) => ({ share, use }));
  });
  invocation.print(
    formatTable(
      [
        { title: "SHARE", value: ({ share }) => share.name },
        { title: "KIND", value: ({ share }) => kindOf(share) },
        { title: "SEEN BY", value: ({ use }) => use?.instance ?? "nobody" },
        { title: "AT", value: ({ use }) => use?.path ?? "" },
        { title: "MODE", value: ({ use }) => (use === undefined ? "" : modeOf(use)) },
        {
          title: "STATE",
          value: ({ use }) => (use === undefined ? "" : [use.state, use.detail].filter(Boolean).join(": ")),
        },
        { title: "HOST", value: ({ share }) => share.hostName ?? "-" },
      ],
      edges,
    ),
  );
};

const tell = async (invocation: Invocation, change: ShareChange): Promise<number> => {
  if (invocation.format === "table") {
    const why = change.detail === null ? "" : `: ${change.detail}`;
    invocation.print(`${change.instance} ${change.share} ${change.state}${why}\n`);
  } else await printObject(invocation, change);
  return change.state === "attaching" || change.state === "detaching" ? 6 : 0;
};

/** `bulkhead shares attach NAME SHARE:/PATH[:rw]`; ends with 6 when the host has not confirmed it. */
export const attach = async (invocation: Invocation): Promise<number> => {
  const [named = "", text = ""] = invocation.positionals;
  const { share, path, readOnly } = parseMount(text);
  const client = invocation.client();
  const { id } = await findInstance(client, named);
  return tell(invocation, await client.shares.attach(id, share, { path, readOnly: readOnly ?? true }));
};

/** `bulkhead shares detach NAME SHARE` */
export const detach = async (invocation: Invocation): Promise<number> => {
  const [named = "", share = ""] = invocation.positionals;
  const client = invocation.client();
  const { id } = await findInstance(client, named);
  return tell(invocation, await client.shares.detach(id, share));
};
