import { type Digest, fleetError } from "@bulkhead/contracts";
import { isDigest } from "../digest.ts";

/** An image in a registry. Without tag and digest it means the tag `latest`. */
export interface ImageReference {
  /** host, with a port when it is not the scheme's own; `docker.io` for Docker's */
  readonly registry: string;
  readonly repository: string;
  readonly tag: string | undefined;
  /** decides when both are there, as for Docker */
  readonly digest: Digest | undefined;
}

/** Docker's registry is named by this and reached under another name (`dockerHost`). */
export const dockerRegistry = "docker.io";
export const dockerHost = "registry-1.docker.io";

// Grammar of the distribution project's reference package; a registry's name has a dot or a port, or is localhost.
const host = /^(?:localhost|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/;
const repositoryPattern = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const maxLength = 512;

const refuse = (text: string, why: string): never => {
  throw fleetError("REQUEST_INVALID", `"${text.slice(0, 200)}" is not an image reference: ${why}.`, {
    fields: { errors: [{ pointer: "/reference", message: why }] },
  });
};

const isRegistry = (part: string): boolean => /[.:]/.test(part) || part === "localhost" || part.startsWith("[");

/** `[registry/]repository[:tag][@sha256:…]`, without a registry Docker's. Throws REQUEST_INVALID. */
export const parseReference = (text: string): ImageReference => {
  if (text.length > maxLength) refuse(text, `it is longer than ${maxLength} characters`);
  if (text.includes("://")) refuse(text, "it must not begin with a scheme");
  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) refuse(text, "the digest must be sha256: and 64 hexadecimal digits");
  const named = at < 0 ? text : text.slice(0, at);
  const slash = named.indexOf("/");
  const first = slash < 0 ? "" : named.slice(0, slash);
  const registry = isRegistry(first) ? first.toLowerCase() : dockerRegistry;
  if (!host.test(registry)) refuse(text, `"${first.slice(0, 100)}" is not a registry's name`);
  const path = isRegistry(first) ? named.slice(slash + 1) : named;
  const colon = path.indexOf(":");
  const tag = colon < 0 ? undefined : path.slice(colon + 1);
  if (tag !== undefined && !tagPattern.test(tag)) refuse(text, "the tag has characters that tags cannot have");
  const bare = colon < 0 ? path : path.slice(0, colon);
  if (!repositoryPattern.test(bare)) refuse(text, "the repository must be lower-case words joined by / . _ or -");
  const isDocker = registry === dockerRegistry || registry === "index.docker.io" || registry === dockerHost;
  return {
    registry: isDocker ? dockerRegistry : registry,
    repository: isDocker && !bare.includes("/") ? `library/${bare}` : bare,
    tag: tag ?? (digest === undefined ? "latest" : undefined),
    digest: digest as Digest | undefined,
  };
};

/** The whole reference, for people, policies and keys: registry and tag are never left out. */
export const formatReference = ({ registry, repository, tag, digest }: ImageReference): string =>
  `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;

/** The name a pulled image gets: as people write it, so without Docker's registry; undefined without a tag. */
export const familiarName = ({ registry, repository, tag }: ImageReference): string | undefined => {
  if (tag === undefined) return undefined;
  if (registry !== dockerRegistry) return `${registry}/${repository}:${tag}`;
  return `${repository.replace(/^library\//, "")}:${tag}`;
};
