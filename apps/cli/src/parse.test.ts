import { expect, test } from "vitest";
import { UsageError } from "./command.ts";
import { parseCommandLine, type Parsed } from "./parse.ts";
import { commands } from "./table/index.ts";

const parse = (line: string): Parsed => {
  const parsed = parseCommandLine(commands, line.split(" "));
  if ("help" in parsed) throw new Error("help");
  return parsed;
};

const fault = (line: string): string => {
  try {
    parseCommandLine(commands, line === "" ? [] : line.split(" "));
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error(`accepted: ${line}`);
};

test("options stand before and after positionals; the command comes after two dashes", () => {
  const parsed = parse("run --name cache redis -m 64Mi -e A=1 -e B=2 -- redis-server --port 0");
  expect(parsed.command.path).toEqual(["run"]);
  expect(parsed.positionals).toEqual(["redis"]);
  expect(parsed.rest).toEqual(["redis-server", "--port", "0"]);
  expect(parsed.options.text("name")).toBe("cache");
  expect(parsed.options.text("memory")).toBe("64Mi");
  expect(parsed.options.list("env")).toEqual(["A=1", "B=2"]);
});

test("options before the command belong to every command", () => {
  const parsed = parse("-o json --project team ps -q");
  expect(parsed).toMatchObject({ format: "json", positionals: [] });
  expect(parsed.options.text("project")).toBe("team");
  expect(parsed.options.flag("quiet")).toBe(true);
});

test.each([
  ["exec -it web sh -c ls", ["web"], ["sh", "-c", "ls"]],
  ["exec web -it -- sh -c ls", ["web"], ["sh", "-c", "ls"]],
  ["exec -i web -u root sh", ["web"], ["sh"]],
  ["exec web ls -l --help", ["web"], ["ls", "-l", "--help"]],
  ["exec --project team web env", ["web"], ["env"]],
])("%s", (line, positionals, rest) => {
  const parsed = parse(line);
  expect(parsed.positionals).toEqual(positionals);
  expect(parsed.rest).toEqual(rest);
});

test("short switches may be joined", () => {
  const { options } = parse("exec -it web sh");
  expect([options.flag("interactive"), options.flag("tty")]).toEqual([true, true]);
});

test("a switch can be turned off, and is told apart from one not given", () => {
  expect(parse("run redis --no-wait").options.given("wait")).toBe(false);
  expect(parse("run redis --wait").options.given("wait")).toBe(true);
  expect(parse("run redis").options.given("wait")).toBeUndefined();
});

test("a group alone lists; its words are commands of their own", () => {
  expect(parse("images").command.path).toEqual(["images"]);
  expect(parse("images rm a b")).toMatchObject({ positionals: ["a", "b"] });
  expect(parse("images import - --name app").positionals).toEqual(["-"]);
});

test.each([
  ["", []],
  ["--help", []],
  ["help", []],
  ["help run", ["run"]],
  ["run --help", ["run"]],
  ["images import -h", ["images", "import"]],
])("%j asks for help", (line, help) => {
  expect(parseCommandLine(commands, line === "" ? [] : line.split(" "))).toEqual({ help });
});

test.each([
  ["imagse", "Did you mean `bulkhead images`?"],
  ["rnu redis", "Did you mean `bulkhead run`?"],
  ["frobnicate", "`bulkhead help` lists the commands."],
  ["run --nmae x redis", "Did you mean --name?"],
  ["run", "bulkhead run needs IMAGE."],
  ["run redis sleep 5", "does not take `sleep`. A command for the instance comes after `--`."],
  ["inspect a b", "does not take `b`"],
  ["ps -o xml", "use table, json or yaml"],
  ["run redis --name", "--name"],
  ["--project x", "name a command first"],
])("%j is refused: %s", (line, text) => {
  expect(fault(line)).toContain(text);
});

test("everything after `oci` is the native command's, its options and help too", () => {
  expect(parse("oci --root /x run --help -- one").rest).toEqual(["--root", "/x", "run", "--help", "--", "one"]);
  expect(parse("-o json oci list").rest).toEqual(["list"]);
});
