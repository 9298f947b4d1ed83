// What the kernel refuses of CPUs: real cpusets, some of them where nothing can be written.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { join } from "node:path";
import type { Isolation } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { usableCpus } from "./capacity.ts";
import { openCgroupParents, removeCgroupParents, type CgroupParents } from "./cgroup-parents.ts";
import { readCgroups } from "./cgroups.ts";
import { CpuLedger } from "./cpu-ledger.ts";
import { formatCpuList } from "./cpu-list.ts";
import { HostCpus } from "./host-cpus.ts";
import { sharedCpusetGroup } from "./cpuset-group.ts";

const online = usableCpus();
const last = online.at(-1) ?? 0;
const rest = online.slice(0, -1);
const { mode } = readCgroups();
const cpusFile = mode === "v2" ? "cpuset.cpus.effective" : "cpuset.cpus";
const patience = { timeout: 30_000 };

/** Nothing below it can be written until it is disposed of. */
const readOnly = (directory: string): Disposable => {
  execFileSync("mount", ["--bind", directory, directory]);
  execFileSync("mount", ["-o", "remount,bind,ro", directory]);
  return { [Symbol.dispose]: () => void execFileSync("umount", [directory]) };
};

/** Two agents of one host; `telling` is called whenever that of machines is about to tell the kernel. */
const stage = async (telling: () => void = () => undefined) => {
  await using undo = new AsyncDisposableStack();
  const directory = undo.use(await mkdtempDisposable("/tmp/bulkhead-cpus-"));
  const failures: string[] = [];
  const agent = async (isolation: Isolation) => {
    const parents = await openCgroupParents(`bulkhead-${randomBytes(4).toString("hex")}`, readCgroups());
    const group = sharedCpusetGroup(parents) ?? "";
    undo.defer(async () => {
      rmdirSync(group);
      await removeCgroupParents(parents);
    });
    const seen: CgroupParents = {
      ...parents,
      get mode() {
        if (isolation === "vm") telling();
        return parents.mode;
      },
    };
    const cpus = undo.use(
      new HostCpus({
        paths: { cpus: directory.path, isolation },
        parents: seen,
        online,
        othersShare: () => Promise.resolve(false),
        changed: () => undefined,
        failed: (error) => void failures.push((error as NodeJS.ErrnoException).code ?? String(error)),
      }),
    );
    await cpus.open();
    return { cpus, group, parents };
  };
  const [containers, machines] = [await agent("container"), await agent("vm")];
  const moved = undo.move();
  return {
    containers,
    machines,
    failures,
    ledger: new CpuLedger(directory.path, online),
    seen: () => [containers, machines].map(({ group }) => readFileSync(join(group, cpusFile), "utf8").trim()),
    user: {
      isolation: "vm" as const,
      name: "a",
      dedicated: true,
      cpuIds: [last],
      sharesToo: false,
      cpuset: null,
      runDir: join(directory.path, "run"),
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
};

const everywhere = [formatCpuList(online), formatCpuList(online)];

test.runIf(online.length > 1)(
  "a group that cannot be narrowed is a failed start, and the other is widened again",
  async () => {
    await using at = await stage();
    {
      using _unwritable = readOnly(at.containers.group);
      await expect(at.machines.cpus.enter(at.user)).rejects.toMatchObject({ code: "EROFS" });
      expect([at.seen(), at.failures]).toEqual([everywhere, []]);
      expect(at.ledger.now).toMatchObject({ users: [], shared: online, before: null });
    }
    expect(await at.machines.cpus.enter(at.user)).toBeNull();
    expect(at.seen()).toEqual([formatCpuList(rest), formatCpuList(rest)]);
  },
);

test.runIf(online.length > 1)(
  "what cannot even be taken back is tried until it can, and nobody is promised it",
  async () => {
    let armed = false;
    let told = 0;
    const unwritable: Disposable[] = [];
    const at = await stage(() => {
      told += armed ? 1 : 0;
      // The first is the attempt, which fails half way; the second takes it back.
      if (told === 2 && unwritable.length === 1) unwritable.push(readOnly(at.machines.group));
    });
    await using _at = at;
    unwritable.push(readOnly(at.containers.group));
    try {
      armed = true;
      await expect(at.machines.cpus.enter(at.user)).rejects.toMatchObject({ code: "EROFS" });
      expect(at.seen()).toEqual([formatCpuList(online), formatCpuList(rest)]);
      expect(at.ledger.now).toMatchObject({ users: [], before: online });
      expect(at.containers.cpus.promisedTo("any")).toMatchObject({ settled: false, most: online, least: [] });
      // Both agents try on, and each says so once.
      await expect.poll(() => told, patience).toBeGreaterThan(4);
      expect(at.failures.length).toBeLessThanOrEqual(3);
      expect(new Set(at.failures)).toEqual(new Set(["EROFS"]));
    } finally {
      for (const each of unwritable) each[Symbol.dispose]();
    }
    await expect.poll(() => at.ledger.now.before, patience).toBeNull();
    expect(at.seen()).toEqual(everywhere);
    expect(await at.machines.cpus.enter(at.user)).toBeNull();
  },
);

test.runIf(online.length > 1 && mode !== "v2")(
  "an instance whose own cgroups hold a CPU keeps it, and who wanted it fails",
  async () => {
    await using at = await stage();
    const paths = ["instance", "instance/inner"].map((name) => join(at.containers.group, name));
    for (const path of paths) {
      mkdirSync(path);
      for (const file of ["cpuset.cpus", "cpuset.mems"]) {
        writeFileSync(join(path, file), readFileSync(join(at.containers.group, file)));
      }
    }
    try {
      await expect(at.machines.cpus.enter(at.user)).rejects.toMatchObject({ code: "EBUSY" });
      expect([at.seen(), at.failures]).toEqual([everywhere, []]);
      expect(at.ledger.now).toMatchObject({ users: [], shared: online, before: null });
    } finally {
      for (const path of paths.toReversed()) rmdirSync(path);
    }
    expect(await at.machines.cpus.enter(at.user)).toBeNull();
  },
);
