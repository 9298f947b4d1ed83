interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly const?: string | number | boolean;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly patternProperties?: object;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly schema?: Schema;
  readonly description?: string;
}

interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content?: Readonly<Record<string, { readonly schema?: Schema }>> };
  readonly responses?: Readonly<
    Record<string, { readonly description?: string; readonly content?: Readonly<Record<string, { schema?: Schema }>> }>
  >;
}

/** The parts of an OpenAPI document that the page shows. */
export interface OpenApiDocument {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly paths?: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components?: { readonly schemas?: Readonly<Record<string, Schema>> };
}

const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};
const escape = (text: string): string => text.replace(/[&<>"']/g, (sign) => escapes[sign] ?? sign);
/** Escaped, with `code` between backquotes. */
const prose = (text: string): string => escape(text).replace(/`([^`]+)`/g, "<code>$1</code>");

const nameOf = (reference: string): string => reference.split("/").at(-1) ?? reference;

const typeOf = (schema: Schema | undefined): string => {
  if (schema === undefined) return "any";
  if (schema.$ref !== undefined) {
    const name = escape(nameOf(schema.$ref));
    return `<a href="#schema-${name}">${name}</a>`;
  }
  if (schema.enum !== undefined) return schema.enum.map((value) => `<code>${escape(String(value))}</code>`).join(" | ");
  if (schema.const !== undefined) return `<code>${escape(String(schema.const))}</code>`;
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(" | ");
  if (schema.allOf !== undefined) return schema.allOf.map(typeOf).join(" &amp; ");
  if (schema.type === "array") return `${typeOf(schema.items)}[]`;
  if (schema.type === "object" && schema.properties !== undefined) {
    const members = Object.entries(schema.properties).map(([name, inner]) => `${escape(name)}: ${typeOf(inner)}`);
    return `{ ${members.join(", ")} }`;
  }
  return escape(String(schema.type ?? "any"));
};

const limitsOf = (schema: Schema): string =>
  [
    schema.minimum === undefined ? "" : `at least ${schema.minimum}`,
    schema.maximum === undefined ? "" : `at most ${schema.maximum}`,
    schema.maxLength === undefined ? "" : `at most ${schema.maxLength} characters`,
    schema.default === undefined ? "" : `default ${JSON.stringify(schema.default)}`,
  ]
    .filter(Boolean)
    .join(", ");

const row = (name: string, required: boolean, schema: Schema, text: string | undefined): string =>
  `<tr><td><code>${escape(name)}</code>${required ? " *" : ""}</td><td>${typeOf(schema)}</td><td>${[
    prose(text ?? schema.description ?? ""),
    escape(limitsOf(schema)),
  ]
    .filter(Boolean)
    .join("; ")}</td></tr>`;

const table = (rows: readonly string[]): string =>
  rows.length === 0 ? "" : `<table><tr><th>field</th><th>type</th><th></th></tr>${rows.join("")}</table>`;

const anchor = (method: string, path: string): string => `${method}-${path.replace(/[^A-Za-z0-9]+/g, "-")}`;

const contentOf = (content: Readonly<Record<string, { schema?: Schema }>> | undefined): string =>
  Object.entries(content ?? {})
    .map(([type, { schema }]) => `${typeOf(schema)} as <code>${escape(type)}</code>`)
    .join(", ");

const section = (method: string, path: string, operation: Operation): string => {
  const parameters = (operation.parameters ?? []).map((parameter) =>
    row(
      `${parameter.name} (${parameter.in})`,
      parameter.required === true,
      parameter.schema ?? {},
      parameter.description,
    ),
  );
  const body = contentOf(operation.requestBody?.content);
  const responses = Object.entries(operation.responses ?? {}).map(
    ([status, { description = "", content }]) =>
      `<li><b>${escape(status)}</b> ${prose(description)}${content === undefined ? "" : `: ${contentOf(content)}`}</li>`,
  );
  return `<section id="${anchor(method, path)}"><h3><span class="m">${method.toUpperCase()}</span> ${escape(path)}</h3>
<p>${prose(operation.summary ?? "")}</p>${operation.description === undefined ? "" : `<p>${prose(operation.description)}</p>`}
${table(parameters)}${body === "" ? "" : `<p>Body: ${body}</p>`}<ul>${responses.join("")}</ul></section>`;
};

const style = `body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}
h2{border-bottom:1px solid #d5dae1;margin-top:2.5rem}section{margin:1.5rem 0}.m{background:#24405c;color:#fff;border-radius:3px;padding:.1rem .4rem;font-size:.8em}
code{background:#f0f2f5;padding:0 .2rem}table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #e4e8ed;padding:.25rem .5rem;text-align:left;vertical-align:top}
nav ul{columns:2;list-style:none;padding:0}a{color:#1b5fa8}
@media(prefers-color-scheme:dark){body{background:#12161c;color:#dde3ea}code{background:#232a33}td,th,h2{border-color:#333c47}a{color:#7fb4ee}}`;

/** A page that shows an OpenAPI document without scripts or anything from elsewhere. */
export const docsPage = (document: OpenApiDocument): string => {
  const operations = Object.entries(document.paths ?? {}).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation, tag: operation.tags?.[0] ?? "" })),
  );
  const tags = [...new Set(operations.map(({ tag }) => tag))].sort();
  const contents = operations
    .map(
      ({ path, method, operation }) =>
        `<li><a href="#${anchor(method, path)}">${method.toUpperCase()} ${escape(path)}</a> ${prose(operation.summary ?? "")}</li>`,
    )
    .join("");
  const schemas = Object.entries(document.components?.schemas ?? {}).map(([name, schema]) => {
    const required = new Set(schema.required);
    const rows = Object.entries(schema.properties ?? {}).map(([member, inner]) =>
      row(member, required.has(member), inner, undefined),
    );
    return `<section id="schema-${escape(name)}"><h3>${escape(name)}</h3>${table(rows)}</section>`;
  });
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(document.info.title)}</title><style>${style}</style></head><body><h1>${escape(document.info.title)} ${escape(document.info.version)}</h1>
<p>${prose(document.info.description ?? "")} Machine-readable: <a href="/v1/openapi.json">/v1/openapi.json</a>. Fields with * are required.</p>
<nav><ul>${contents}</ul></nav>
${tags
  .map(
    (tag) =>
      `<h2>${escape(tag)}</h2>${operations
        .filter((operation) => operation.tag === tag)
        .map(({ method, path, operation }) => section(method, path, operation))
        .join("")}`,
  )
  .join("")}
<h2>Schemas</h2>${schemas.join("")}</body></html>`;
};
