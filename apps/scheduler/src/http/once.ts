import { createHash } from "node:crypto";
import { fleetError } from "@bulkhead/contracts";
import type { ApiInventory, ApiWrites, OnceKey, StoredAnswer } from "@bulkhead/inventory";
import type { FastifyReply, FastifyRequest } from "fastify";
import { identityOf } from "./request-context.ts";

/**
 * The request's Idempotency-Key with a hash of all that decides what it does. `content` stands for a streamed body.
 * Throws REQUEST_INVALID for a key that is empty, too long or not printable.
 */
export const onceKey = (request: FastifyRequest, content?: string): OnceKey | undefined => {
  const key = request.headers["idempotency-key"];
  if (key === undefined) return undefined;
  if (typeof key !== "string" || !/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw fleetError("REQUEST_INVALID", "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces.");
  }
  const body = content ?? JSON.stringify(request.body ?? null);
  const bodyHash = createHash("sha256")
    .update(`${request.method} ${request.url}\n${request.project ?? "*"}\n${body}`)
    .digest();
  return { tokenId: identityOf(request).tokenId, key, bodyHash };
};

/** Sends an answer made now or earlier. */
export const sendAnswer = (reply: FastifyReply, answer: StoredAnswer, replayed = false): FastifyReply => {
  if (replayed) void reply.header("idempotency-replayed", "true");
  return reply.code(answer.status).headers(answer.headers).send(answer.body);
};

/**
 * Does a change, takes it back and answers what it would: a dry run meets exactly the refusals that the change would. Numbers drawn from
 * sequences are not given back, which nobody sees.
 */
export const rehearse = async <Answer>(
  inventory: ApiInventory,
  work: (tx: ApiWrites) => Promise<Answer>,
): Promise<Answer> => {
  const takenBack = new Error("rehearsed");
  const answers: Answer[] = [];
  try {
    await inventory.write(async (tx) => {
      answers.push(await work(tx));
      throw takenBack;
    });
  } catch (error) {
    if (error !== takenBack) throw error;
  }
  // A transaction that lost a deadlock is done again.
  return answers.at(-1) as Answer;
};

/**
 * Does a change and answers, both at most once per Idempotency-Key: key, change and answer are one transaction, so that
 * a crash loses all or nothing and a concurrent duplicate waits for the first. `kept` is what repetitions see instead.
 */
export const answerOnce = async (
  { request, reply, inventory }: { request: FastifyRequest; reply: FastifyReply; inventory: ApiInventory },
  work: (tx: ApiWrites) => Promise<StoredAnswer>,
  options: { content?: string; kept?: (answer: StoredAnswer) => StoredAnswer } = {},
): Promise<FastifyReply> => {
  const once = onceKey(request, options.content);
  const { answer, replayed } = await inventory.write(async (tx) => {
    const earlier = once === undefined ? undefined : await tx.claim(once);
    if (earlier !== undefined) return { answer: earlier, replayed: true };
    const made = await work(tx);
    if (once !== undefined) await tx.complete(once, options.kept?.(made) ?? made);
    return { answer: made, replayed: false };
  });
  return sendAnswer(reply, answer, replayed);
};
