import { type HostCredential, type JoinHost, fleetError } from "@bulkhead/contracts";
import { Type } from "typebox";
import { hashToken } from "../auth/token-cache.ts";
import { answers, ref } from "../http/answers.ts";
import { identityOf } from "../http/request-context.ts";
import { assertUpgrade, upgrade } from "../http/upgrade.ts";
import type { AddRoutes } from "./route-context.ts";
import { newToken } from "./tokens.ts";

const tags = ["internal"];

export const addInternalRoutes: AddRoutes = (app, { inventory, control, credentials, broker, fleetSize }) => {
  app.post<{ Body: JoinHost }>(
    "/internal/hosts/join",
    {
      config: { access: "join" },
      schema: {
        operationId: "joinHost",
        summary: "Make a machine a host; the answer is its agent's whole credential",
        tags,
        body: ref("JoinHost"),
        response: answers({ 201: { description: "the credential", schema: ref("HostCredential") } }),
      },
    },
    async (request, reply): Promise<HostCredential> => {
      const { hostId, isolation, publicKey } = request.body;
      const { tokenId, role } = identityOf(request);
      const known = await inventory.read.agentPublicKey(hostId, isolation);
      if (known !== undefined && known !== publicKey && role !== "admin") {
        // Who has only a join token must not take over a host that is there.
        throw fleetError("FORBIDDEN", "This host has joined with another key; joining it anew needs an administrator.");
      }
      const { clusterId } = await control.join(request.body);
      const natsJwt = await credentials.mint({ hostId, isolation, publicKey });
      const httpToken = newToken();
      await inventory.write(async (tx) => {
        await tx.revokeAgentTokens(hostId, isolation);
        const name = `agent of ${request.body.name} (${isolation})`;
        await tx.createToken({ name, hash: hashToken(httpToken), role: "agent", hostId, isolation }, tokenId);
      });
      await fleetSize.refresh(isolation);
      control.wake();
      void reply.code(201);
      return { clusterId: clusterId as HostCredential["clusterId"], natsUrl: credentials.natsUrl, natsJwt, httpToken };
    },
  );

  app.get<{ Params: { streamId: string } }>(
    "/internal/streams/:streamId",
    {
      config: { access: "stream" },
      schema: {
        operationId: "agentStream",
        summary: "WebSocket: an agent's end of a byte stream, with the one-time token of the command that asked for it",
        tags,
        params: Type.Object({ streamId: Type.String({ pattern: "^[0-9a-f-]{36}$" }) }),
        response: answers({ 101: { description: "the stream" } }),
      },
    },
    async (request, reply) => {
      assertUpgrade(request);
      const token = /^Bearer (?<token>.+)$/.exec(request.headers.authorization ?? "")?.groups?.["token"] ?? "";
      const arrived = broker.redeem(request.params.streamId, token);
      arrived(await upgrade(request, reply));
      return reply;
    },
  );
};
