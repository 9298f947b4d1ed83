import { StatusLine } from "../output.ts";

/** Progress of a start or stop: one line a step, with the time it took. */
export class Steps {
  readonly #status: StatusLine;

  constructor(stream: NodeJS.WriteStream) {
    this.#status = new StatusLine(stream);
  }

  /** Runs `work` under a title; the line stays, with what `work` answers as a remark. */
  async run<T>(title: string, work: () => Promise<T>, remark: (result: T) => string = () => ""): Promise<T> {
    const started = performance.now();
    const seconds = (): string => `${((performance.now() - started) / 1000).toFixed(1)} s`;
    this.#status.show(`  … ${title}`);
    try {
      const result = await work();
      const said = remark(result);
      this.#status.done(`  ✓ ${title}${said === "" ? "" : `: ${said}`} (${seconds()})`);
      return result;
    } catch (error) {
      this.#status.done(`  ✗ ${title} (${seconds()})`);
      throw error;
    }
  }

  /** A line between steps, or while everything runs. */
  say(text: string): void {
    this.#status.done(text);
  }
}
