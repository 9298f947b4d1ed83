/** Thrown nowhere: a dead process does not see its calls fail, it sees nothing any more. */
const never = new Promise<never>(() => undefined);

/**
 * A process that dies at its nth dealing with the outside, before or after that took effect. Wrap every port of an agent
 * with the same one; from its death on nothing the agent does has an effect, and nothing reaches it.
 */
export class Mortal {
  calls = 0;
  #diesAt: number;
  readonly #after: boolean;

  /** Even numbers die before the call's effect, odd ones after it. Infinity never dies. */
  constructor(step: number) {
    this.#diesAt = Math.floor(step / 2);
    this.#after = step % 2 === 1;
  }

  get dead(): boolean {
    return this.calls > this.#diesAt;
  }

  /** Dies now. */
  kill(): void {
    this.#diesAt = -1;
  }

  /** `target` as this process sees it; objects that its methods return are wrapped too. */
  wrap<Target extends object>(target: Target): Target {
    return new Proxy(target, {
      get: (object, name) => {
        const value: unknown = Reflect.get(object, name, object);
        if (value instanceof Promise) return this.#later(value);
        if (typeof value !== "function") return value;
        return (...given: unknown[]): unknown => {
          const call = (): unknown =>
            Reflect.apply(
              value,
              object,
              given.map((argument) => this.#listener(argument)),
            );
          return this.#call(call, name);
        };
      },
      set: (object, name, value) => Reflect.set(object, name, value, object),
    });
  }

  #call(call: () => unknown, name: string | symbol): unknown {
    // Looking at a clock or at usage changes nothing outside, so dying there is dying at the next call.
    const looks = ["now", "boottimeNs", "after", "usage", "checkContract", "wrap"].includes(String(name));
    if (looks) return this.dead ? (name === "after" ? { cancel: () => undefined } : call()) : call();
    if (this.dead) return never;
    this.calls += 1;
    if (this.dead && !this.#after) return never;
    const result = call();
    if (this.dead) {
      // Its effect stays, its answer reaches nobody.
      if (result instanceof Promise) result.catch(() => undefined);
      return never;
    }
    return result instanceof Promise ? this.#later(result) : this.#wrapped(result);
  }

  async #later(promise: Promise<unknown>): Promise<unknown> {
    try {
      const value = await promise;
      return this.dead ? await never : this.#wrapped(value);
    } catch (error) {
      return this.dead ? await never : Promise.reject(error);
    }
  }

  #wrapped(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.#wrapped(item));
    if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
    // Plain data is a copy of what is outside; what has methods is a way to it.
    const plain = Object.getPrototypeOf(value) === Object.prototype;
    return plain && !Object.values(value).some((field) => typeof field === "function") ? value : this.wrap(value);
  }

  /** Listeners of a dead process hear nothing. */
  #listener(argument: unknown): unknown {
    if (typeof argument !== "function") return argument;
    return (...given: unknown[]): unknown => (this.dead ? never : Reflect.apply(argument, undefined, given));
  }
}
