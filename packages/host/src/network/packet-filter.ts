import { PacketRules, type RuleOperation } from "@bulkhead/native-namespaces";
import { bridgeElements, elementsOf, instanceElements } from "./elements.ts";
import type { NetworkNames } from "./names.ts";
import { noRules, ruleSet } from "./rules.ts";
import type { Attachment, MadeNetwork } from "./state.ts";

/** What rules speak of. */
export interface RuleSubjects {
  readonly networks?: readonly MadeNetwork[];
  readonly attachments?: readonly Attachment[];
}

/** The packet rules of one host; every change is one transaction. Methods reject NativeError with nothing changed. */
export class PacketFilter implements Disposable {
  readonly #names: NetworkNames;
  readonly #rules = new PacketRules();

  constructor(names: NetworkNames) {
    this.#names = names;
  }

  #elements(op: "element.add" | "element.delete", { networks = [], attachments = [] }: RuleSubjects): RuleOperation[] {
    return elementsOf(this.#names, op, [
      ...networks.map(({ networkId, internal }) =>
        bridgeElements({ bridge: this.#names.bridge(networkId).name, internal }),
      ),
      ...attachments.map(instanceElements),
    ]);
  }

  /** What is not there cannot be removed. */
  change({ removed = {}, added = {} }: { removed?: RuleSubjects; added?: RuleSubjects }): Promise<void> {
    const operations = [...this.#elements("element.delete", removed), ...this.#elements("element.add", added)];
    return operations.length === 0 ? Promise.resolve() : this.#rules.apply(operations);
  }

  /** The whole rule set for exactly these, whatever was there; no packet sees a gap. */
  replace(subjects: RuleSubjects): Promise<void> {
    return this.#rules.apply([...ruleSet(this.#names), ...this.#elements("element.add", subjects)]);
  }

  remove(): Promise<void> {
    return this.#rules.apply(noRules(this.#names));
  }

  [Symbol.dispose](): void {
    this.#rules[Symbol.dispose]();
  }
}
