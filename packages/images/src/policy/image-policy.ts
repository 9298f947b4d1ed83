import { type Digest, fleetError, isFleetError } from "@bulkhead/contracts";
import type { RepositorySource } from "../registry/source.ts";
import { runCheck } from "./check-command.ts";
import { readPolicy, ruleFor } from "./policy-file.ts";
import { requireSignature } from "./signed-by.ts";

/** An image before anything of it is stored. */
export interface ImageSubject {
  readonly project: string;
  /** `registry/repository:tag@digest`, or `archive:NAME` for one that was uploaded */
  readonly reference: string;
  /** what the reference means (an index or a manifest), and the manifest itself when that is another */
  readonly digests: readonly Digest[];
  readonly manifest: Buffer;
  /** where its signatures would be; an archive has none */
  readonly source?: RepositorySource;
  readonly signal: AbortSignal;
}

/** An operator's rules for what may enter the store, read anew for each image. Without a file everything may. */
export class ImagePolicy {
  readonly #file: string | undefined;

  constructor(file: string | undefined) {
    this.#file = file;
  }

  /** Rejects IMAGE_REFUSED unless the first rule that fits accepts; whatever goes wrong, the answer is no. */
  async judge(subject: ImageSubject): Promise<void> {
    if (this.#file === undefined) return;
    try {
      await this.#judge(this.#file, subject);
    } catch (cause) {
      subject.signal.throwIfAborted();
      if (isFleetError(cause) && cause.code === "IMAGE_REFUSED") throw cause;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw fleetError("IMAGE_REFUSED", `The image policy could not decide, so the image is refused: ${why}`, {
        cause,
      });
    }
  }

  async #judge(file: string, subject: ImageSubject): Promise<void> {
    const { reference, project, digests, manifest, source, signal } = subject;
    const rule = ruleFor(await readPolicy(file), reference);
    if (rule === undefined) throw fleetError("IMAGE_REFUSED", `No rule of the image policy is about ${reference}.`);
    if ("accept" in rule) return;
    if ("refuse" in rule) throw fleetError("IMAGE_REFUSED", `The image policy refuses ${reference}: ${rule.refuse}`);
    if ("command" in rule) {
      await runCheck(
        rule.command,
        { version: 1, project, reference, digests, manifest: manifest.toString("utf8") },
        signal,
      );
      return;
    }
    if (source === undefined) {
      throw fleetError(
        "IMAGE_REFUSED",
        `The image policy wants a signature, and an archive such as ${reference} has none.`,
      );
    }
    await requireSignature(rule.signedBy, { digests, source, signal });
  }
}
