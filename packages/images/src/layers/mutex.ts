/** Runs sections one after another, in the order they were asked for. For short sections only. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(section: () => Promise<T>): Promise<T> {
    const result = this.#last.then(section, section);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
