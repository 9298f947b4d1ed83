import type { Image } from "@bulkhead/contracts";
import { openFile, withProgress, type Progress } from "@bulkhead/client";
import { basename } from "node:path";
import type { Invocation } from "../command.ts";
import { printNamed, printObject, StatusLine } from "../output.ts";
import { formatAge, formatBytes } from "../quantity.ts";

const columns = (now: number) => [
  { title: "NAME", value: (row: Image) => row.names.join(", ") || "-" },
  { title: "DIGEST", value: (row: Image) => row.digest.slice(0, "sha256:".length + 12) },
  { title: "SIZE", value: (row: Image) => formatBytes(row.sizeBytes) },
  { title: "LAYERS", value: (row: Image) => String(row.layers.length) },
  { title: "AGE", value: (row: Image) => formatAge(row.createdAt, now) },
];

/** `bulkhead images` */
export const list = async (invocation: Invocation): Promise<void> => {
  const rows = await Array.fromAsync(invocation.client().images.list());
  await printNamed(invocation, columns(Date.now()), rows, ({ digest }) => digest);
};

/** `bulkhead images inspect IMAGE` */
export const inspect = async (invocation: Invocation): Promise<void> => {
  await printObject(invocation, await invocation.client().images.get(invocation.positionals[0] ?? ""));
};

const describe = ({ sentBytes, totalBytes }: Progress): string => {
  if (totalBytes === undefined) return formatBytes(sentBytes);
  if (sentBytes >= totalBytes) return `${formatBytes(totalBytes)} sent, being verified`;
  return `${formatBytes(sentBytes)} of ${formatBytes(totalBytes)} (${Math.floor((sentBytes / totalBytes) * 100)} %)`;
};

/** The image name a file suggests: `redis.oci.tar.gz` is `redis`. */
const nameOf = (file: string): string => basename(file).split(".")[0]?.toLowerCase() ?? "image";

/** `bulkhead images import FILE|- [--name NAME]` */
export const importImage = async (invocation: Invocation): Promise<void> => {
  const [file = "-"] = invocation.positionals;
  const name = invocation.options.text("name") ?? (file === "-" ? undefined : nameOf(file));
  const source =
    file === "-"
      ? { content: invocation.stdin as AsyncIterable<Uint8Array>, sizeBytes: undefined }
      : await openFile(file);
  const status = new StatusLine(invocation.stderr);
  const content = withProgress(source.content, source.sizeBytes, (progress) =>
    status.show(`Importing ${name ?? "an image"}… ${describe(progress)}`),
  );
  let image: Image;
  try {
    image = await invocation.client().images.import(name, { content, name: file });
  } finally {
    status.clear();
  }
  if (invocation.format === "table") invocation.print(`${image.names.join(", ")} ${image.digest}\n`);
  else await printObject(invocation, image);
};

/** `bulkhead images rm IMAGE…` */
export const remove = async (invocation: Invocation): Promise<void> => {
  for (const image of invocation.positionals) {
    await invocation.client().images.remove(image);
    invocation.print(`${image} removed\n`);
  }
};
