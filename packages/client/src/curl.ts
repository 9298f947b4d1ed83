import type { PreparedRequest } from "./request.ts";

const quote = (text: string): string =>
  /^[A-Za-z0-9_./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

/**
 * The request as a curl command that can be pasted into a shell. The token is not shown: the command reads it from
 * `BULKHEAD_TOKEN`.
 */
export const curlOf = (request: PreparedRequest): string => {
  const parts = ["curl", "--silent", "--show-error"];
  if (request.method !== "GET") parts.push("--request", request.method);
  for (const [name, value] of Object.entries(request.headers)) {
    parts.push(
      "--header",
      name === "authorization" ? '"Authorization: Bearer $BULKHEAD_TOKEN"' : quote(`${name}: ${value}`),
    );
  }
  if (request.body.kind === "json") parts.push("--data", quote(request.body.text));
  if (request.body.kind === "stream") parts.push("--data-binary", quote(`@${request.body.name}`));
  parts.push(quote(request.url));
  return parts.join(" ");
};
