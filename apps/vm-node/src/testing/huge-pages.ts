import { readFileSync, writeFileSync } from "node:fs";

const pageBytes = 2 * 2 ** 20;
const pool = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

const reserved = (): number => Number(readFileSync(pool, "utf8"));

/** Pages of 2 MiB that the kernel keeps for a test, beside those that somebody keeps already. */
export class HugePages implements Disposable {
  readonly #before: number;

  private constructor(before: number) {
    this.#before = before;
  }

  /** Throws when memory has not as many in one piece. */
  static reserve(bytes: number): HugePages {
    const pages = new HugePages(reserved());
    const wanted = pages.#before + bytes / pageBytes;
    writeFileSync(pool, String(wanted));
    const found = reserved();
    if (found === wanted) return pages;
    pages[Symbol.dispose]();
    throw new Error(`the kernel found ${found} large pages instead of ${wanted}`);
  }

  [Symbol.dispose](): void {
    writeFileSync(pool, String(this.#before));
  }
}

/** How much of a process's address space is made of pages of the pool. */
export const hugeBytesOf = (pid: number): number =>
  readFileSync(`/proc/${pid}/smaps`, "utf8")
    .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    .filter((mapping) => /^KernelPageSize: +2048 kB/m.test(mapping))
    .reduce((sum, mapping) => sum + Number(/^Size: +(\d+) kB/m.exec(mapping)?.[1] ?? 0) * 1024, 0);
