import { decodeRecords, encodeRecord } from "./records.ts";
import type { AppendFile, Storage } from "./storage.ts";

/** A log of records on storage: appended to, and rewritten when most of it is stale. Callers write one at a time. */
export class RecordFile {
  readonly #storage: Storage;
  readonly #name: string;
  #file: AppendFile | null = null;
  #records: number;
  /** a damaged file is replaced by its good part before anything is appended to it */
  #damaged: boolean;

  private constructor(storage: Storage, name: string, state: { records: number; damaged: boolean }) {
    this.#storage = storage;
    this.#name = name;
    this.#records = state.records;
    this.#damaged = state.damaged;
  }

  static async open(
    storage: Storage,
    name: string,
  ): Promise<{ file: RecordFile; values: readonly unknown[]; damaged: number }> {
    const { values, damaged } = decodeRecords((await storage.read(name)) ?? new Uint8Array());
    const file = new RecordFile(storage, name, { records: values.length, damaged: damaged > 0 });
    return { file, values, damaged };
  }

  /** Records in the file, stale ones included. */
  get records(): number {
    return this.#records;
  }

  get damaged(): boolean {
    return this.#damaged;
  }

  /** Durable when it resolves; rejects with nothing written. */
  async append(values: readonly unknown[]): Promise<void> {
    this.#file ??= await this.#storage.open(this.#name);
    await this.#file.append(Buffer.from(values.map((value) => encodeRecord(value)).join("")));
    this.#records += values.length;
  }

  /** Replaces the whole content, durably and atomically. */
  async rewrite(values: readonly unknown[]): Promise<void> {
    await this.#storage.replace(this.#name, Buffer.from(values.map((value) => encodeRecord(value)).join("")));
    await this.close();
    this.#records = values.length;
    this.#damaged = false;
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.close();
  }
}
