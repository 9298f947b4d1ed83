import type { LayerProgress, Operation } from "@bulkhead/contracts";
import { formatBytes } from "../quantity.ts";

/** Cells of a bar; with digest and sizes a line has less than 80 columns. */
const cells = 24;

const bar = ({ doneBytes, sizeBytes }: LayerProgress): string => {
  const filled = sizeBytes === 0 ? cells : Math.floor((Math.min(doneBytes, sizeBytes) / sizeBytes) * cells);
  return `[${"=".repeat(filled)}${" ".repeat(cells - filled)}]`;
};

const line = (layer: LayerProgress): string => {
  const id = layer.digest.slice("sha256:".length, "sha256:".length + 12);
  const sizes = `${formatBytes(layer.doneBytes)} of ${formatBytes(layer.sizeBytes)}`;
  return `  ${id} ${layer.state.padEnd(9)} ${bar(layer)} ${sizes}`;
};

const order: Readonly<Record<LayerProgress["state"], number>> = { fetching: 0, verifying: 1, waiting: 2, ready: 3 };

/** What a pull does, and below it a bar for each layer; those that move come first, for a terminal may be small. */
export const pullBars = ({ progress, layers }: Pick<Operation, "progress" | "layers">): string => {
  const moving = (layers ?? []).toSorted((a, b) => order[a.state] - order[b.state]);
  return [progress ?? "", ...moving.map(line)].join("\n");
};
