/** One file or directory of an archive; `mode` with its type, as in stat(2). */
export interface CpioEntry {
  readonly path: string;
  readonly mode: number;
  readonly content?: Buffer;
}

const aligned = (size: number): Buffer => Buffer.alloc((4 - (size % 4)) % 4);

/** A "newc" archive as an initramfs is one: Linux, Documentation/driver-api/early-userspace/buffer-format.rst. */
export const cpioArchive = (entries: readonly CpioEntry[]): Buffer =>
  Buffer.concat(
    [...entries, { path: "TRAILER!!!", mode: 0 }].map(({ path, mode, content = Buffer.alloc(0) }: CpioEntry, index) => {
      const name = Buffer.from(`${path}\0`);
      const fields = [index + 1, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0];
      const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`);
      return Buffer.concat([header, name, aligned(header.length + name.length), content, aligned(content.length)]);
    }),
  );

export const cpioDirectory = (path: string): CpioEntry => ({ path, mode: 0o040755 });
export const cpioFile = (path: string, content: Buffer, mode = 0o644): CpioEntry => ({
  path,
  mode: 0o100000 | mode,
  content,
});
