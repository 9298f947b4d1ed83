import { subjects } from "@bulkhead/contracts";
import { describe, expect, test } from "vitest";
import { BadMessage, decode, encode } from "./codec.ts";
import { readMessage } from "./inbound.ts";
import { hostA, hostB, reports } from "./testing/messages.ts";

const raw = (body: unknown, subject = `bulkhead.v1.${hostA}.container.report`) => ({
  subject,
  string: () => (typeof body === "string" ? body : JSON.stringify(body)),
});

describe("bodies", () => {
  test("come back as they went", () => {
    const body = reports(7);
    expect(decode(subjects.report.body, encode(subjects.report.body, body))).toEqual(body);
  });

  test.each([
    ["text that is no JSON", "{", "is not JSON"],
    ["an unknown field", JSON.stringify({ ...reports(1), extra: 1 }), "extra"],
    ["a missing field", JSON.stringify({ hostId: hostA, isolation: "container" }), "reports"],
    [
      "a wrong type below",
      JSON.stringify({ ...reports(1), reports: [{ ...reports(1).reports[0], seq: "1" }] }),
      "/reports/0/seq",
    ],
    [
      "too many reports",
      JSON.stringify({ ...reports(1), reports: Array(501).fill(reports(1).reports[0]) }),
      "/reports",
    ],
  ])("%s is refused, and where is said", (_what, text, where) => {
    expect(() => decode(subjects.report.body, text)).toThrow(BadMessage);
    expect(() => decode(subjects.report.body, text)).toThrow(where);
  });

  test("our own body that does not fit is not sent", () => {
    expect(() => encode(subjects.report.body, { ...reports(1), reports: [] })).toThrow(BadMessage);
  });
});

describe("text that no database keeps", () => {
  const torn = "\ud83d";
  const withDetail = (detail: string) => ({
    ...reports(1),
    reports: [{ ...reports(1).reports[0], detail }],
  });
  const detailOf = (body: unknown) => (body as ReturnType<typeof reports>).reports[0]?.detail;

  test.each([
    ["NUL", "a\0b", "a\ufffdb"],
    ["half a character", `a${torn}`, "a\ufffd"],
    ["a whole one", "a\u{1f600}", "a\u{1f600}"],
    ["what only looks like an escape", String.raw`\u0000 \ud83d`, String.raw`\u0000 \ud83d`],
  ])("%s is replaced when it is sent and when it comes", (_what, sent, wanted) => {
    const { body } = subjects.report;
    expect(detailOf(JSON.parse(encode(body, withDetail(sent))))).toBe(wanted);
    expect(detailOf(decode(body, JSON.stringify(withDetail(sent))))).toBe(wanted);
  });
});

describe("the sender", () => {
  test("is the subject's", () => {
    const message = readMessage(subjects.report, raw(reports(1)));
    expect(message.parameters).toEqual({ hostId: hostA, isolation: "container" });
  });

  test("a body that names another host or kind is refused", () => {
    expect(() => readMessage(subjects.report, raw(reports(1, hostB)))).toThrow("/hostId");
    expect(() => readMessage(subjects.report, raw({ ...reports(1), isolation: "vm" }))).toThrow("/isolation");
  });

  test("a subject that does not fit the pattern is refused", () => {
    expect(() => readMessage(subjects.report, raw(reports(1), "bulkhead.v1.x.report"))).toThrow(BadMessage);
  });
});
