import type { InstanceView } from "@bulkhead/contracts";
import type { Invocation } from "../command.ts";
import { UsageError } from "../command.ts";
import { formatTable, printObject } from "../output.ts";
import { findInstance } from "./instances.ts";
import { differences, factsOf, type Difference, type Fact } from "./view-lines.ts";

const sections = <Row extends { readonly section: string }>(rows: readonly Row[], format: (rows: Row[]) => string) =>
  [...Map.groupBy(rows, ({ section }) => section)]
    .map(([section, group]) => `${section}\n${format(group).replace(/^(?=.)/gm, "  ")}`)
    .join("\n");

const withoutTitles = <Row>(values: readonly ((row: Row) => string)[], rows: readonly Row[]): string =>
  formatTable(
    values.map((value) => ({ title: "", value })),
    rows,
  ).replace(/^\n/, "");

const show = (view: InstanceView): string => {
  const head = `${view.name}, process ${view.pid} of its host, ${view.processes} in all, at ${view.at}\n`;
  const cut = view.truncated.length === 0 ? "" : `cut, because they are too long: ${view.truncated.join(", ")}\n`;
  return `${head}${cut}\n${sections(factsOf(view), (rows) => withoutTitles<Fact>([(row) => row.about, (row) => row.value], rows))}`;
};

const compare = (left: InstanceView, right: InstanceView): string => {
  const found = differences(left, right);
  if (found.length === 0) return `${left.name} and ${right.name} see the same.\n`;
  return sections(found, (rows) =>
    formatTable<Difference>(
      [
        { title: "", value: (row) => row.about },
        { title: left.name, value: (row) => row.left },
        { title: right.name, value: (row) => row.right },
      ],
      rows,
    ),
  );
};

/** `bulkhead view NAME [OTHER]` */
export const run = async (invocation: Invocation): Promise<void> => {
  const [first = "", second] = invocation.positionals;
  if (second !== undefined && second === first) throw new UsageError("view compares two different instances.");
  const client = invocation.client();
  const seccompFrom = invocation.options.flag("leave-running") ? "plan" : "kernel";
  const [left, right] = await Promise.all(
    invocation.positionals.map(async (named) =>
      client.instances.view((await findInstance(client, named)).id, { seccompFrom }),
    ),
  );
  if (left === undefined) return;
  if (invocation.format !== "table") return printObject(invocation, right === undefined ? left : { left, right });
  invocation.print(right === undefined ? show(left) : compare(left, right));
};
