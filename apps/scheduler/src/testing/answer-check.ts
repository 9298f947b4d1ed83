import type { FastifyInstance } from "fastify";
import { validatorCompiler } from "../http/validation.ts";

interface Response {
  readonly content?: Readonly<Record<string, { readonly schema: object }>>;
}

type Check = ReturnType<typeof validatorCompiler>;

/** Compares every JSON answer with what its route's schema says; resolves to a list that fills with what differs. */
export const checkAnswers = (app: FastifyInstance): readonly string[] => {
  const violations: string[] = [];
  const checks = new Map<object, Check>();
  const checkOf = (schema: object): Check => {
    const known = checks.get(schema);
    if (known !== undefined) return known;
    const made = validatorCompiler({ schema, httpPart: "body", method: "GET", url: "/" });
    checks.set(schema, made);
    return made;
  };
  app.addHook("onSend", async (request, reply, payload) => {
    const responses = request.routeOptions.schema?.response as Readonly<Record<string, Response>> | undefined;
    const type = String(reply.getHeader("content-type") ?? "").split(";")[0] ?? "";
    if (responses === undefined || !type.endsWith("json") || typeof payload !== "string") return;
    const response = responses[String(reply.statusCode)] ?? responses[`${String(reply.statusCode)[0]}xx`];
    const schema = response?.content?.[type]?.schema;
    const place = `${request.method} ${request.routeOptions.url} ${reply.statusCode} ${type}`;
    if (schema === undefined) {
      violations.push(`${place} is not described`);
      return;
    }
    const verdict = checkOf(schema)(JSON.parse(payload)) as { error?: unknown };
    if (verdict.error !== undefined) violations.push(`${place}: ${JSON.stringify(verdict.error)}`);
  });
  return violations;
};
