import { addon } from "./addon.ts";
import { NativeError, unwrap } from "./error.ts";

/** Removes a file or a small tree at once; links are not followed. Throws NativeError; a path that is not there is fine. */
export const removeTree = (path: string): void => {
  unwrap(addon.removeTree(path));
};

/** Removes whole trees on one thread of their own. Resolves to why each could not be removed, or null; never rejects. */
export const removeTrees = (paths: readonly string[]): Promise<(NativeError | null)[]> =>
  new Promise((resolve) => {
    addon.removeTrees(paths, (outcomes) =>
      resolve(outcomes.map((outcome) => (outcome.ok ? null : new NativeError(outcome)))),
    );
  });

/** For a directory of many unrelated trees: the file system keeps them apart where it can. Throws NativeError. */
export const spreadChildren = (path: string): void => {
  unwrap(addon.spreadChildren(path));
};
