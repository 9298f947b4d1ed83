import type { AppendFile, LeasePage, LeaseState, Storage } from "@bulkhead/node";

const full = (): Error => Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });

/** A state directory in memory that outlives the agents of a test, and can be full, torn or damaged. */
export class MemoryStorage implements Storage {
  readonly files = new Map<string, Uint8Array>();
  /** writes are refused, as by a full disk */
  full = false;
  /** waited for before each append, as for a slow disk */
  before: (name: string) => Promise<void> = async () => undefined;
  /** durable writes so far */
  writes = 0;

  async read(name: string): Promise<Uint8Array | null> {
    return this.files.get(name) ?? null;
  }

  async replace(name: string, bytes: Uint8Array): Promise<void> {
    if (this.full) throw full();
    this.writes += 1;
    this.files.set(name, Uint8Array.from(bytes));
  }

  async open(name: string): Promise<AppendFile> {
    if (this.full) throw full();
    return {
      append: async (bytes) => {
        await this.before(name);
        if (this.full) throw full();
        this.writes += 1;
        this.files.set(name, Buffer.concat([this.files.get(name) ?? new Uint8Array(), bytes]));
      },
      close: async () => undefined,
    };
  }

  /** Cuts a file's end off, as a crash in the middle of a write does. */
  tear(name: string, bytes: number): void {
    const content = this.files.get(name) ?? new Uint8Array();
    this.files.set(name, content.slice(0, Math.max(content.byteLength - bytes, 0)));
  }

  text(name: string): string {
    return Buffer.from(this.files.get(name) ?? new Uint8Array()).toString("utf8");
  }
}

/** The page in memory, gone with a reboot. */
export class MemoryLeasePage implements LeasePage {
  state: LeaseState = { renewedAtNs: 0n, term: 0n };

  read(): LeaseState {
    return this.state;
  }

  write(state: LeaseState): void {
    this.state = state;
  }

  close(): void {
    // Nothing to close: the test keeps it.
  }
}
