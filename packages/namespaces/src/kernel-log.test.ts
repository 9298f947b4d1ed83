import { expect, test } from "vitest";
import { oomVictims } from "./kernel-log.ts";

const kill = (cgroup: string, name: string, pid: number): string =>
  `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=c,mems_allowed=0,oom_memcg=${cgroup},task_memcg=${cgroup},task=${name},pid=${pid},uid=268435456`;
const size = (name: string, pid: number, anon: number): string =>
  `Memory cgroup out of memory: Killed process ${pid} (${name}) total-vm:99999kB, anon-rss:${anon}kB, file-rss:4kB, shmem-rss:8kB, UID:268435456 pgtables:96kB oom_score_adj:0`;

test("a victim is named with its cgroup and what it held", () => {
  expect(oomVictims(["usb 1-1: new device", kill("/a/run", "stress", 42), size("stress", 42, 1000), "other"])).toEqual([
    { cgroup: "/a/run", name: "stress", pid: 42, rssBytes: 1012 * 1024 },
  ]);
});

test("a size without its victim is nobody's, and a victim without its size has none", () => {
  expect(oomVictims([size("x", 1, 5), kill("/a", "y", 2), size("z", 3, 5)])).toEqual([
    { cgroup: "/a", name: "y", pid: 2, rssBytes: null },
  ]);
});

test.each(["x,pid=7,uid=0", "a) total-vm:1kB", ",task_memcg=/b", ",task=b", ""])(
  "a process that calls itself %j is still itself",
  (name) => {
    expect(oomVictims([kill("/a/run", name, 42), size(name, 42, 1)])).toEqual([
      { cgroup: "/a/run", name, pid: 42, rssBytes: 13 * 1024 },
    ]);
  },
);
