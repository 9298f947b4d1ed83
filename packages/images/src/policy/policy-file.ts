import { readFile } from "node:fs/promises";
import { fleetError } from "@bulkhead/contracts";
import { type Static, Type } from "typebox";
import { parseDocument } from "../oci/document.ts";

const closed = { additionalProperties: false } as const;
const Match = Type.String({
  minLength: 1,
  description: "glob over the whole reference; `*` stays within one path part",
});

export const SignedBy = Type.Object(
  {
    /** PEM public keys; one valid signature by one of them is enough */
    keyFiles: Type.Array(Type.String({ pattern: "^/" }), { minItems: 1, maxItems: 16 }),
    /** the repository that the signature must name: the one pulled from by default, `any` for no check */
    identity: Type.Optional(Type.String({ minLength: 1 })),
  },
  closed,
);
export type SignedBy = Static<typeof SignedBy>;

export const CheckCommand = Type.Object(
  {
    argv: Type.Array(Type.String(), { minItems: 1 }),
    timeoutMs: Type.Optional(Type.Integer({ minimum: 1, maximum: 600_000 })),
  },
  closed,
);
export type CheckCommand = Static<typeof CheckCommand>;

const Rule = Type.Union([
  Type.Object({ match: Match, accept: Type.Literal(true) }, closed),
  Type.Object({ match: Match, refuse: Type.String({ minLength: 1, description: "why, for whoever pulls" }) }, closed),
  Type.Object({ match: Match, signedBy: SignedBy }, closed),
  Type.Object({ match: Match, command: CheckCommand }, closed),
]);
export type Rule = Static<typeof Rule>;

const PolicyFile = Type.Object({ rules: Type.Array(Rule, { maxItems: 1_000 }) }, closed);

/** Rejects IMAGE_REFUSED for a file that is missing or malformed: a policy that cannot be read accepts nothing. */
export const readPolicy = async (file: string): Promise<readonly Rule[]> => {
  try {
    return parseDocument(PolicyFile, await readFile(file), file).rules;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw fleetError("IMAGE_REFUSED", `The image policy cannot be used, so no image is accepted: ${why}`, { cause });
  }
};

/** `*` is anything within a path part, `**` anything at all. */
const globPattern = (glob: string): RegExp => {
  const parts = glob.split(/(\*\*|\*)/).map((part) => {
    if (part === "**") return ".*";
    return part === "*" ? "[^/]*" : part.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`);
  });
  return new RegExp(`^${parts.join("")}$`, "s");
};

/** The first rule whose glob fits. */
export const ruleFor = (rules: readonly Rule[], reference: string): Rule | undefined =>
  rules.find(({ match }) => globPattern(match).test(reference));
