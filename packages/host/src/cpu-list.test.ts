import { expect, test } from "vitest";
import { formatCpuList, parseCpuList } from "./cpu-list.ts";

test("kernel lists are read and written as the kernel does", () => {
  expect(parseCpuList("0-3,8,10-11\n")).toEqual([0, 1, 2, 3, 8, 10, 11]);
  expect(parseCpuList("\n")).toEqual([]);
  expect(formatCpuList([11, 0, 1, 3, 2, 10, 8, 8])).toBe("0-3,8,10-11");
  expect(formatCpuList([])).toBe("");
});
