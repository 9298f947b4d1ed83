import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** docs/architecture.md's drawing as numbers: an import must point to a strictly lower one. */
const layers: Readonly<Record<string, number>> = {
  contracts: 0,
  placement: 1,
  lifecycle: 1,
  node: 2,
  host: 3,
  images: 3,
  namespaces: 4,
  kvm: 4,
  bus: 5,
  inventory: 5,
  client: 5,
  telemetry: 6,
  service: 6,
  agent: 7,
};

/** A native addon belongs to one package. */
const nativeOwner: Readonly<Record<string, readonly string[]>> = {
  "native-namespaces": ["namespaces", "host", "images"],
  "native-kvm": ["kvm"],
  "native-guest": ["kvm"],
};

interface Edge {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

const importPattern = /(?:from|import)\s*\(?\s*["']([^"']+)["']/g;

const sources = globSync("{apps,packages,native}/*/src/**/*.ts", {
  cwd: root,
  exclude: (path) => path.includes("generated"),
});

const ownerOf = (file: string): { area: string; name: string } => {
  const [area = "", name = ""] = file.split("/");
  return { area, name };
};

const isTest = (file: string): boolean => /\.(test|bench)\.ts$/.test(file);

const edges: Edge[] = sources.flatMap((file) => {
  const { area, name } = ownerOf(file);
  const from = area === "packages" ? name : `${area}/${name}`;
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(importPattern)].map(([, specifier = ""]) => ({ file, from, to: specifier }));
});

const own = edges.filter((edge) => edge.to.startsWith("@bulkhead/"));

describe("imports point one way", () => {
  test("there is something to check", () => {
    expect(own.length).toBeGreaterThan(20);
  });

  test("packages import only lower layers", () => {
    const wrong = own.filter(({ file, from, to }) => {
      if (!file.startsWith("packages/") || isTest(file) || from === "testkit") return false;
      const target = to.replace("@bulkhead/", "").split("/")[0] ?? "";
      if (target.startsWith("native-")) return !(nativeOwner[target] ?? []).includes(from);
      const own = layers[from];
      const other = layers[target];
      return own === undefined || other === undefined || other >= own;
    });
    expect(wrong).toEqual([]);
  });

  test("no app imports another app, and nothing imports an app", () => {
    const apps = new Set(globSync("apps/*", { cwd: root }).map((path) => path.replace("apps/", "@bulkhead/app-")));
    const wrong = own.filter(({ to }) => apps.has(to));
    expect(wrong).toEqual([]);
  });

  test("testkit is imported by tests only", () => {
    const wrong = own.filter(
      ({ file, from, to }) =>
        to.startsWith("@bulkhead/testkit") && from !== "testkit" && !isTest(file) && !file.includes("/testing/"),
    );
    expect(wrong).toEqual([]);
  });

  test("relative imports stay inside their package", () => {
    const wrong = edges.filter(({ file, to }) => {
      if (!to.startsWith(".")) return false;
      const { area, name } = ownerOf(file);
      return relative(join(root, area, name), resolve(root, dirname(file), to)).startsWith("..");
    });
    expect(wrong).toEqual([]);
  });

  test("no file imports itself through others", () => {
    const imports = Map.groupBy(
      edges
        .filter(({ file, to }) => to.startsWith(".") && !isTest(file))
        .map(({ file, to }) => ({ file, to: relative(root, resolve(root, dirname(file), to)) })),
      ({ file }) => file,
    );
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      if (done.has(file) || path.includes(file)) return;
      for (const { to } of imports.get(file) ?? []) visit(to, [...path, file]);
      done.add(file);
    };
    for (const file of imports.keys()) visit(file, []);
    expect(circles).toEqual([]);
  });

  test("every package that is imported is declared", () => {
    const wrong = own.filter(({ file, to }) => {
      const { area, name } = ownerOf(file);
      const manifest = JSON.parse(readFileSync(join(root, area, name, "package.json"), "utf8")) as {
        name: string;
        dependencies?: Record<string, string>;
        devDependencies?: Record<string, string>;
      };
      const target = to.split("/").slice(0, 2).join("/");
      return target !== manifest.name && !(target in { ...manifest.dependencies, ...manifest.devDependencies });
    });
    expect(wrong).toEqual([]);
  });
});

describe("one place for each thing", () => {
  test("no subject string outside the catalogue", () => {
    const wrong = sources.filter(
      (file) =>
        !isTest(file) &&
        !file.startsWith("packages/contracts/") &&
        /["'`]bulkhead\.v1\./.test(readFileSync(join(root, file), "utf8")),
    );
    expect(wrong).toEqual([]);
  });

  test("no file is called utils, common, helpers or manager", () => {
    expect(sources.filter((file) => /(^|\/)(utils?|common|helpers?|managers?|misc)(\.ts$|\/)/.test(file))).toEqual([]);
  });

  test("no source file is longer than 300 lines", () => {
    const long = sources.filter(
      (file) => !isTest(file) && readFileSync(join(root, file), "utf8").split("\n").length > 301,
    );
    expect(long).toEqual([]);
  });
});
