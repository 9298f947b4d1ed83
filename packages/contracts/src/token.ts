import { Type, type Static } from "typebox";
import { Name, Timestamp } from "./ids.ts";

const closed = { additionalProperties: false } as const;

/** What a token may do; `agent` is a host's own credential and never given out by request. */
export const tokenRoles = ["admin", "editor", "viewer", "join", "agent"] as const;
export type TokenRole = (typeof tokenRoles)[number];

const GivenRole = Type.Union(
  [Type.Literal("admin"), Type.Literal("editor"), Type.Literal("viewer"), Type.Literal("join")],
  {
    description:
      "admin: everything; editor: one project; viewer: reads one project; join: only lets machines become hosts",
  },
);

export const CreateToken = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 255, description: "for people: who or what uses it" }),
    role: GivenRole,
    project: Type.Optional(Name),
  },
  { ...closed, $id: "CreateToken" },
);
export type CreateToken = Static<typeof CreateToken>;

/** A token as lists show it; the secret is shown once, when it is made. */
export const Token = Type.Object(
  {
    id: Type.String({ description: "token id (UUIDv7)" }),
    name: Type.String(),
    role: Type.Enum(tokenRoles),
    project: Type.Union([Name, Type.Null()]),
    createdAt: Timestamp,
    revokedAt: Type.Union([Timestamp, Type.Null()]),
    secret: Type.Optional(Type.String({ description: "only in the answer that made it" })),
  },
  { ...closed, $id: "Token" },
);
export type Token = Static<typeof Token>;
