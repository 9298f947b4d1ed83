import type { Invocation, OutputFormat } from "./command.ts";
import { printable, printableLine } from "./printable.ts";

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string;
}

/** Rows under titles, columns two blanks apart, no trailing blanks. */
export const formatTable = <Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string => {
  const cells = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map(({ value }) => printableLine(value(row)))),
  ];
  const widths = columns.map((_, index) => Math.max(...cells.map((line) => line[index]?.length ?? 0)));
  return cells
    .map((line) =>
      line
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
};

/** A value as JSON or YAML, ending in a newline. */
export const formatValue = async (value: unknown, format: Exclude<OutputFormat, "table">): Promise<string> => {
  if (format === "json") return `${JSON.stringify(value, null, 2)}\n`;
  const { stringify } = await import("yaml");
  return stringify(value, { lineWidth: 0 });
};

/** Prints a list in the format asked for. */
export const printList = async <Row>(
  invocation: Pick<Invocation, "format" | "print">,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
): Promise<void> => {
  const { format, print } = invocation;
  print(format === "table" ? formatTable(columns, rows) : await formatValue(rows, format));
};

/** As `printList`; with `--quiet` nothing but the names, for other commands to take. */
export const printNamed = async <Row>(
  invocation: Pick<Invocation, "format" | "print" | "options">,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  nameOf: (row: Row) => string,
): Promise<void> => {
  if (!invocation.options.flag("quiet")) return printList(invocation, columns, rows);
  invocation.print(rows.map((row) => `${nameOf(row)}\n`).join(""));
};

/** Prints one object; people get YAML, which shows everything and can be read. */
export const printObject = async (invocation: Pick<Invocation, "format" | "print">, value: unknown): Promise<void> => {
  invocation.print(await formatValue(value, invocation.format === "table" ? "yaml" : invocation.format));
};

/**
 * A line that changes while something long goes on, with details in lines below it. On a terminal they are rewritten in
 * place; elsewhere each different first line is a line of its own, so that logs stay short.
 */
export class StatusLine {
  readonly #stream: NodeJS.WriteStream;
  readonly #live: boolean;
  #last = "";
  #below = 0;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    this.#live = stream.isTTY;
  }

  show(text: string): void {
    const safe = printable(text);
    const [first = "", ...others] = safe.split("\n");
    const shown = this.#live ? safe : first;
    if (shown === this.#last) return;
    const lines = [first, ...others.slice(0, (this.#stream.rows ?? 24) - 2)];
    if (this.#live) this.#stream.write(`${this.#erase()}${lines.map((line) => this.#cut(line)).join("\n")}`);
    else this.#stream.write(`${first}\n`);
    this.#last = shown;
    this.#below = this.#live ? lines.length - 1 : 0;
  }

  /** A line that wraps could not be rewritten. */
  #cut(line: string): string {
    return line.slice(0, (this.#stream.columns ?? 80) - 1);
  }

  /** Goes back to the first line and takes all away. */
  #erase(): string {
    return this.#below === 0 ? "\r\u001b[2K" : `\r\u001b[${this.#below}A\u001b[0J`;
  }

  /** Replaces the line by a lasting one. */
  done(text: string): void {
    this.#stream.write(this.#live ? `${this.#erase()}${text}\n` : `${text}\n`);
    this.#last = "";
    this.#below = 0;
  }

  /** Takes the line away, before something else is printed. */
  clear(): void {
    if (this.#live && this.#last !== "") this.#stream.write(this.#erase());
    this.#last = "";
    this.#below = 0;
  }
}
