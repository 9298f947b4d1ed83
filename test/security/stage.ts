// Rigs with attack programs in their image, and canaries on the host that no attack may touch.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { Assignment } from "@bulkhead/contracts";
import { Rig } from "@bulkhead/namespaces/testing";
import { busyboxImage } from "@bulkhead/testkit/images";

export type Changes = NonNullable<Parameters<Rig["assignment"]>[1]>;
export type RunningInstance = Awaited<ReturnType<Rig["start"]>>;
type ExecRequest = Parameters<RunningInstance["exec"]>[0];

const programs = ["look", "exchange", "kernel", "advertise", "beneath"] as const;

/** Builds the attack programs statically into a directory; they find no library in the image. */
const compileAttacks = (directory: string): Record<string, { hostPath: string; mode: number }> =>
  Object.fromEntries(
    programs.map((name) => {
      const hostPath = join(directory, name);
      const source = join(import.meta.dirname, "attacks", `${name}.c`);
      execFileSync("g++", ["-x", "c", "-std=gnu17", "-O1", "-static", "-o", hostPath, source]);
      return [`/attack/${name}`, { hostPath, mode: 0o755 }];
    }),
  );

/** An image with a shell and the attack programs, which stay in `directory` as well; from the cache when it is there. */
export const attackImage = (directory: string): Promise<string> =>
  busyboxImage({
    files: {
      ...compileAttacks(directory),
      "/etc/passwd": { content: "root:x:0:0::/root:/bin/sh\napp:x:1234:1234::/:/bin/sh\n1000:x:0:0::/:/bin/sh\n" },
      "/etc/group": { content: "root:x:0:\napp:x:1234:\n" },
    },
    name: "attacks:latest",
  });

/** Files of the host that must stay as they are, whatever a container does. */
export class Canary implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "bulkhead-canary-"));
  readonly #before: string;

  constructor() {
    mkdirSync(join(this.path, "directory"));
    for (const name of ["hosts", "hostname", "ptmx", "null", "directory/file"]) {
      writeFileSync(join(this.path, name), `canary ${name}\n`);
    }
    this.#before = this.#look();
  }

  /** Every entry with type, mode, owner, times of change and content. */
  #look(): string {
    const rows: string[] = [];
    const walk = (path: string): void => {
      const { mode, uid, gid, ctimeMs } = statSync(path);
      const directory = (mode & 0o170000) === 0o040000;
      rows.push([path, mode, uid, gid, ctimeMs, directory ? "" : readFileSync(path, "utf8")].join(" "));
      if (directory) for (const name of readdirSync(path).sort()) walk(join(path, name));
    };
    walk(this.path);
    return rows.join("\n");
  }

  /** Throws when anything has changed. */
  refuseChanges(): void {
    const now = this.#look();
    if (now !== this.#before) throw new Error(`the canary was touched:\n${this.#before}\nis now\n${now}`);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A host with one image that has a shell and the attack programs; `shared` may be mounted by instances. */
export class Stage implements AsyncDisposable {
  readonly rig: Rig;
  readonly shared: string;
  readonly image: Assignment["imageDigest"];
  /** the attack programs, for attackers that are not in a container */
  readonly programs: string;

  private constructor(rig: Rig, image: Assignment["imageDigest"], directory: string) {
    this.rig = rig;
    this.image = image;
    this.programs = directory;
    this.shared = join(directory, "shared");
  }

  static async open(): Promise<Stage> {
    const directory = mkdtempSync(join(tmpdir(), "bulkhead-attacks-"));
    mkdirSync(join(directory, "shared"));
    const rig = await Rig.open({ allowed: join(directory, "shared") });
    return new Stage(rig, await rig.image(await attackImage(directory)), directory);
  }

  assignment(command: readonly string[], changes: Changes = {}): Assignment {
    return this.rig.assignment(this.image, { command: [...command], ...changes });
  }

  shell(script: string, changes: Changes = {}): Assignment {
    return this.assignment(["sh", "-c", script], changes);
  }

  /** Standard output and error of a command that runs to its end. */
  async output(script: string, changes: Changes = {}): Promise<string> {
    return (await this.rig.run(this.shell(script, changes))).output;
  }

  /** Starts, and waits until the program says "ready". */
  async ready(assignment: Assignment): Promise<RunningInstance> {
    const run = await this.rig.start(assignment);
    for await (const line of this.rig.runtime.logs(run.key.instanceId, { follow: true }, AbortSignal.timeout(60_000))) {
      if (Buffer.from(line.text).toString() === "ready") break;
    }
    return run;
  }

  /** What one command inside a running instance says, both streams. */
  async exec(run: RunningInstance, command: readonly string[], more: Partial<ExecRequest> = {}): Promise<string> {
    const session = await run.exec({ command: [...command], tty: false, ...more });
    session.stdin.end();
    const [stdout, stderr] = await Promise.all([
      text(session.stdout),
      session.stderr === null ? "" : text(session.stderr),
    ]);
    await session.ended;
    session.close();
    return stdout + stderr;
  }

  /** "name errno" lines as an object. */
  static answers(output: string): Record<string, number> {
    const rows = output.trim().split("\n");
    return Object.fromEntries(rows.map((row) => row.split(" ")).map(([name = "", errno]) => [name, Number(errno)]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rig[Symbol.asyncDispose]();
    rmSync(this.programs, { recursive: true, force: true });
  }
}
