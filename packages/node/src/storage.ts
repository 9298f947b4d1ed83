import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname, join } from "node:path";

/** A file that only grows; what `append` resolved for survives a crash of process or machine. */
export interface AppendFile {
  /** Appends and makes durable. Rejects with nothing appended: the next append takes the same place. */
  append(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** The agent's state directory. Names may contain `/`. */
export interface Storage {
  /** null when there is none */
  read(name: string): Promise<Uint8Array | null>;
  /** Durable and atomic: after a crash there is the old content or the new. */
  replace(name: string, bytes: Uint8Array): Promise<void>;
  /** Opens for appending after what is there; makes it when there is none. */
  open(name: string): Promise<AppendFile>;
}

const isMissing = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT";

/** Makes a file's content, or the names in a directory, survive a power cut (fsync(2)). */
export const syncPath = async (path: string): Promise<void> => {
  await using file = await open(path, "r");
  await file.sync();
};

/** Storage in a directory of the local file system, files 0600. */
export const directoryStorage = (root: string): Storage => ({
  read: async (name) => {
    try {
      return await readFile(join(root, name));
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  },

  replace: async (name, bytes) => {
    const path = join(root, name);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const temporary = `${path}.new`;
    {
      await using file = await open(temporary, "w", 0o600);
      await file.writeFile(bytes);
      await file.datasync();
    }
    await rename(temporary, path);
    await syncPath(dirname(path));
  },

  open: async (name) => {
    const path = join(root, name);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    // Not O_APPEND: a failed append must be overwritten by the next, so writes name their position.
    const file = await open(path, "r+").catch(async (error: unknown) => {
      if (!isMissing(error)) throw error;
      const made = await open(path, "wx+", 0o600);
      await syncPath(dirname(path));
      return made;
    });
    let { size } = await file.stat();
    return {
      append: async (bytes) => {
        try {
          let done = 0;
          while (done < bytes.byteLength) {
            done += (await file.write(bytes, done, bytes.byteLength - done, size + done)).bytesWritten;
          }
          await file.datasync();
          size += bytes.byteLength;
        } catch (error) {
          await file.truncate(size).catch(() => undefined);
          throw error;
        }
      },
      close: async () => {
        await file.close();
      },
    };
  },
});
