/** One way to authenticate that a server offers. */
export interface Challenge {
  /** lower case */
  readonly scheme: string;
  /** names in lower case */
  readonly parameters: Readonly<Record<string, string>>;
}

const maxLength = 8192; // what servers commonly take for one header
const parameter = /([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))/y;
const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;

/** The challenges of a `WWW-Authenticate` header (RFC 9110 section 11.6.1); what cannot be read ends the list. */
export const parseChallenges = (header: string): readonly Challenge[] => {
  const found: { scheme: string; parameters: Record<string, string> }[] = [];
  const text = header.slice(0, maxLength);
  for (let at = 0; at < text.length;) {
    if (/[\s,]/.test(text.charAt(at))) {
      at += 1;
      continue;
    }
    parameter.lastIndex = at;
    const pair = parameter.exec(text);
    const last = found.at(-1);
    if (pair !== null && last !== undefined) {
      last.parameters[(pair[1] ?? "").toLowerCase()] = pair[2]?.replaceAll(/\\(.)/g, "$1") ?? pair[3] ?? "";
      at = parameter.lastIndex;
      continue;
    }
    token.lastIndex = at;
    const scheme = token.exec(text);
    if (scheme === null) break;
    // No prototype: a parameter may have any name.
    found.push({ scheme: scheme[0].toLowerCase(), parameters: Object.create(null) as Record<string, string> });
    at = token.lastIndex;
  }
  return found;
};
