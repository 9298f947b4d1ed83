import { randomBytes } from "node:crypto";
import { type CreateToken, type Token, fleetError } from "@bulkhead/contracts";
import { Type } from "typebox";
import { hashToken } from "../auth/token-cache.ts";
import { answers, ref } from "../http/answers.ts";
import { answerOnce } from "../http/once.ts";
import { identityOf } from "../http/request-context.ts";
import { addList } from "../http/reading.ts";
import type { AddRoutes } from "./route-context.ts";

const tags = ["tokens"];

/** A new bearer token: 256 random bits, with a prefix that secret scanners can look for. */
export const newToken = (): string => `bulkhead_${randomBytes(32).toString("base64url")}`;

const needsProject = ({ role }: CreateToken): boolean => role === "editor" || role === "viewer";

const assertProject = (token: CreateToken): void => {
  if (needsProject(token) === (token.project !== undefined)) return;
  const message = needsProject(token) ? `is required for the role ${token.role}` : `is not for the role ${token.role}`;
  throw fleetError("REQUEST_INVALID", `/project ${message}.`, {
    fields: { errors: [{ pointer: "/project", message }] },
  });
};

export const addTokenRoutes: AddRoutes = (app, { inventory, tokens }) => {
  app.post<{ Body: CreateToken }>(
    "/v1/tokens",
    {
      config: { access: "admin" },
      schema: {
        operationId: "createToken",
        summary: "Make a token; the secret is in this answer only, not in a repetition of it",
        tags,
        body: ref("CreateToken"),
        response: answers({ 201: { description: "the token with its secret", schema: ref("Token") } }),
      },
    },
    async (request, reply) => {
      assertProject(request.body);
      const secret = newToken();
      const { tokenId } = identityOf(request);
      return answerOnce(
        { request, reply, inventory },
        async (tx) => {
          const token = await tx.createToken({ ...request.body, hash: hashToken(secret) }, tokenId);
          return { status: 201, headers: { location: `/v1/tokens/${token.id}` }, body: { ...token, secret } };
        },
        {
          kept: (answer) => {
            const { secret: _secret, ...token } = answer.body as Token;
            return { ...answer, body: token };
          },
        },
      );
    },
  );

  addList(app, {
    noun: "tokens",
    schema: "Token",
    summary: "List tokens, without their secrets",
    access: "admin",
    read: (_request, page) => inventory.read.tokens(page),
  });

  app.delete<{ Params: { token: string } }>(
    "/v1/tokens/:token",
    {
      config: { access: "admin" },
      schema: {
        operationId: "revokeToken",
        summary: "Revoke a token; other schedulers follow within five seconds",
        tags,
        params: Type.Object({
          token: Type.String({ pattern: "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", description: "token id" }),
        }),
        response: answers({ 200: { description: "the revoked token", schema: ref("Token") } }),
      },
    },
    async (request) => {
      const { tokenId } = identityOf(request);
      const revoked = await inventory.write((tx) => tx.revokeToken(request.params.token, tokenId));
      tokens.clear();
      return revoked;
    },
  );
};
