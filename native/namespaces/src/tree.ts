import { addon } from "./addon.ts";
import { NativeError, unwrap } from "./error.ts";

/** Removes a file or a small tree at once; links are not followed. Throws NativeError; a path that is not there is fine. */
export const removeTree = (path: string): void => {
  unwrap(addon.removeTree(path));
};

/** A tree to be removed, or, when directories in it are kept, all but it and them. */
export interface UnwantedTree {
  readonly path: string;
  readonly kept: readonly string[];
}

/**
 * Removes trees on one thread of their own. Resolves to why each could not be removed, or null; never rejects. One with
 * kept directories is refused (EPERM) when it or they are not as this process makes them.
 */
export const removeTrees = (trees: readonly UnwantedTree[]): Promise<(NativeError | null)[]> =>
  new Promise((resolve) => {
    addon.removeTrees(trees, (outcomes) =>
      resolve(outcomes.map((outcome) => (outcome.ok ? null : new NativeError(outcome)))),
    );
  });

/** For a directory of many unrelated trees: the file system keeps them apart where it can. Throws NativeError. */
export const spreadChildren = (path: string): void => {
  unwrap(addon.spreadChildren(path));
};
