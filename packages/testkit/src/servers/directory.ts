import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A temporary directory that servers running as another user can enter; removed when disposed. */
export class TestDirectory implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async make(name: string): Promise<TestDirectory> {
    const path = await mkdtemp(join(tmpdir(), `bulkhead-test-${name}-`));
    await chmod(path, 0o755);
    return new TestDirectory(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

/** Account that test servers run as when we are root; every Debian has it and it owns nothing. */
export const testUser = process.getuid?.() === 0 ? { user: "nobody" } : {};
