/** Which methods each route takes, to tell an unknown path (404) from a wrong method (405). */
export class AllowedMethods {
  readonly #routes = new Map<string, { readonly match: RegExp; readonly methods: Set<string> }>();

  /** `url` in the router's syntax: `:name` is one segment, a `*` at the end the rest. */
  add(url: string, method: string | readonly string[]): void {
    const known = this.#routes.get(url);
    const methods = known?.methods ?? new Set<string>();
    for (const name of typeof method === "string" ? [method] : method) methods.add(name.toUpperCase());
    if (known === undefined) this.#routes.set(url, { match: pathPattern(url), methods });
  }

  /** Methods of the routes that match a concrete path, sorted; empty when none does. */
  of(path: string): string[] {
    const found = new Set<string>();
    for (const { match, methods } of this.#routes.values()) {
      if (match.test(path)) for (const method of methods) found.add(method);
    }
    return [...found].sort();
  }
}

const pathPattern = (url: string): RegExp => {
  const escaped = url.replace(/[.+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replace(/:[^/]+/g, "[^/]+").replace(/\*$/, ".*")}$`);
};
