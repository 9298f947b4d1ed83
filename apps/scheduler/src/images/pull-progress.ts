import type { PullProgress } from "@bulkhead/images";

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

/** One line for people: `2 of 5 layers, 12.5 of 80.1 MiB`. */
export const describeProgress = ({ step, layers }: PullProgress): string => {
  switch (step) {
    case "resolving":
      return "asking the registry for the manifest";
    case "checking":
      return "asking the image policy";
    case "storing":
      return "storing the image";
    case "fetching": {
      const ready = layers.filter(({ state }) => state === "ready").length;
      const sum = (of: "doneBytes" | "sizeBytes") => layers.reduce((total, layer) => total + layer[of], 0);
      return `${ready} of ${layers.length} layers, ${mebibytes(sum("doneBytes"))} of ${mebibytes(sum("sizeBytes"))} MiB`;
    }
    default: {
      const never: never = step;
      return never;
    }
  }
};
