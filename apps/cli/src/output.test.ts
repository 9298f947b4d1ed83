import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { OptionValues } from "./command.ts";
import { formatTable, formatValue, printNamed, StatusLine } from "./output.ts";

const stream = (isTTY: boolean): NodeJS.WriteStream & { text: string } => {
  const sink = Object.assign(
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        sink.text += chunk.toString();
        done();
      },
    }),
    { text: "", isTTY, columns: 40 },
  );
  return sink as unknown as NodeJS.WriteStream & { text: string };
};

test("columns are as wide as their widest cell, without blanks at the end", () => {
  const columns = [
    { title: "NAME", value: (row: string) => row },
    { title: "X", value: () => "" },
  ];
  expect(formatTable(columns, ["a", "longer"])).toBe("NAME    X\na\nlonger\n");
});

test("an empty list still has its titles", () => {
  expect(formatTable([{ title: "NAME", value: String }], [])).toBe("NAME\n");
});

test("a quiet list is names for the next command", async () => {
  const printed: string[] = [];
  const print = (text: string) => void printed.push(text);
  const columns = [{ title: "NAME", value: ({ name }: { name: string }) => `<${name}>` }];
  for (const quiet of [true, false]) {
    const invocation = { format: "table", print, options: new OptionValues({ quiet }) } as const;
    await printNamed(invocation, columns, [{ name: "a" }, { name: "b" }], ({ name }) => name);
  }
  expect(printed).toEqual(["a\nb\n", "NAME\n<a>\n<b>\n"]);
});

test("json and yaml hold the same value", async () => {
  const value = { a: [1, "x: y"], b: null };
  expect(JSON.parse(await formatValue(value, "json"))).toEqual(value);
  const { parse } = await import("yaml");
  expect(parse(await formatValue(value, "yaml"))).toEqual(value);
});

test("on a terminal a status rewrites its line and never wraps", () => {
  const terminal = stream(true);
  const status = new StatusLine(terminal);
  status.show("x".repeat(100));
  status.show("done");
  status.clear();
  expect(terminal.text).toBe(`\r\u001b[2K${"x".repeat(39)}\r\u001b[2Kdone\r\u001b[2K`);
});

test("lines below the first are rewritten with it, as many as the terminal has", () => {
  const terminal = Object.assign(stream(true), { rows: 4 });
  const status = new StatusLine(terminal);
  status.show("a\nb\nc\nd");
  status.show("e");
  status.clear();
  expect(terminal.text).toBe("\r\u001b[2Ka\nb\nc\r\u001b[2A\u001b[0Je\r\u001b[2K");
});

test("a log has no details", () => {
  const log = stream(false);
  const status = new StatusLine(log);
  for (const text of ["one\n10 %", "one\n20 %", "two\n30 %"]) status.show(text);
  expect(log.text).toBe("one\ntwo\n");
});

test("in a log each different text is a line, and clearing writes nothing", () => {
  const log = stream(false);
  const status = new StatusLine(log);
  status.show("one");
  status.show("one");
  status.done("two");
  status.clear();
  expect(log.text).toBe("one\ntwo\n");
});
