import { Unusable } from "./attempts.ts";
import type { HttpAnswer, HttpRequest, HttpTransport } from "./transport.ts";

/** Registries answer blobs with one or two; more is a loop. */
const maxRedirects = 5;

const redirects = new Set([301, 302, 303, 307, 308]);

/**
 * Sends a request and follows where it is sent on. Headers named `authorization` go to the first address's origin alone:
 * storage that a registry redirects to has its own credential in the address. Throws Unusable for a loop, for a target
 * that is no address, and for one without TLS when the first had it.
 */
export const follow = async (transport: HttpTransport, request: HttpRequest): Promise<HttpAnswer> => {
  let { url } = request;
  for (let count = 0; ; count += 1) {
    const { authorization, ...others } = request.headers;
    const own = authorization === undefined || url.origin !== request.url.origin ? others : request.headers;
    const answer = await transport.send({ ...request, url, headers: own });
    if (!redirects.has(answer.status)) return answer;
    answer.body.destroy();
    if (count >= maxRedirects) throw new Unusable(`${request.url.origin} redirects more than ${maxRedirects} times`);
    const next = URL.parse(answer.headers.location ?? "", url.href);
    if (next === null || answer.headers.location === undefined) {
      throw new Unusable(`${url.origin} redirects to no address`);
    }
    // A name and password in an address would be sent as a credential.
    next.username = "";
    next.password = "";
    if (!transport.allows(next) || (request.url.protocol === "https:" && next.protocol !== "https:")) {
      throw new Unusable(`${url.origin} redirects to ${next.origin}, which has no TLS`);
    }
    url = next;
  }
};
