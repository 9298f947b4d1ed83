import type { Host } from "@bulkhead/contracts";
import { fleetError } from "@bulkhead/contracts/errors";
import type { Invocation } from "../command.ts";
import { printList } from "../output.ts";
import { parseDuration } from "../quantity.ts";

type Unknown = Host["unknownInstances"][number] & { readonly host: string };

const unknownOf = (host: Host): readonly Unknown[] =>
  host.unknownInstances.map((instance) => ({ ...instance, host: host.name }));

const columns = [
  { title: "HOST", value: ({ host }: Unknown) => host },
  { title: "INSTANCE", value: ({ instanceId }: Unknown) => instanceId },
  { title: "NAME", value: ({ name }: Unknown) => name },
  { title: "KIND", value: ({ isolation }: Unknown) => isolation },
];

/** `bulkhead hosts unknown [HOST]` */
export const list = async (invocation: Invocation): Promise<void> => {
  const client = invocation.client();
  const [wanted] = invocation.positionals;
  const hosts = wanted === undefined ? await Array.fromAsync(client.hosts.list()) : [await client.hosts.get(wanted)];
  await printList(invocation, columns, hosts.flatMap(unknownOf));
};

/** `bulkhead hosts end-unknown HOST INSTANCE…` */
export const end = async (invocation: Invocation): Promise<void> => {
  const client = invocation.client();
  const [name = "", ...wanted] = invocation.positionals;
  const grace = invocation.options.text("grace");
  const known = unknownOf(await client.hosts.get(name));
  for (const instance of wanted) {
    const found = known.filter((run) => run.instanceId === instance || run.name === instance);
    // A name may have been used before and after a restore: what is ended must be clear.
    if (found.length !== 1) {
      const why = found.length === 0 ? "reports no unknown instance" : "reports more than one; name it by id:";
      throw fleetError("NOT_FOUND", `Host ${name} ${why} ${instance}.`);
    }
    const [{ instanceId } = { instanceId: instance }] = found;
    await client.hosts.endUnknown(name, instanceId, grace === undefined ? undefined : parseDuration(grace, "grace"));
    invocation.print(`${instance} is ordered to end\n`);
  }
};
