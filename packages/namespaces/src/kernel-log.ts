import { closeSync, constants, openSync, readSync } from "node:fs";

/** A process that the kernel ended because a cgroup was out of memory, as its log tells. */
export interface OomVictim {
  /** cgroup of the memory hierarchy, from the hierarchy's root */
  readonly cgroup: string;
  readonly pid: number;
  readonly name: string;
  /** what it held in memory: anonymous, file and shared pages, in bytes; null when the log does not say */
  readonly rssBytes: number | null;
}

/** The longest record that the kernel hands out (kernel/printk/printk.c, PRINTK_MESSAGE_MAX). */
const recordBytes = 2048 + 1024;
/** Records looked at in one go: more than the ring of any distribution holds of OOM's making in a second. */
const recordsMax = 20_000;
const victimsMax = 256;

// A process names itself, so what follows its name is looked for from the end of the line.
const killPattern = /^oom-kill:.*?,task_memcg=([^,]+),task=(.*),pid=(\d+),uid=\d+$/;
const sizePattern =
  /: Killed process (\d+) \(.*\) total-vm:\d+kB, anon-rss:(\d+)kB, file-rss:(\d+)kB, shmem-rss:(\d+)kB/;

/** What kernel messages, oldest first, say of processes that were killed for memory (mm/oom_kill.c). */
export const oomVictims = (messages: readonly string[]): OomVictim[] => {
  const victims: OomVictim[] = [];
  for (const message of messages) {
    const killed = killPattern.exec(message);
    if (killed !== null) {
      const [, cgroup = "", name = "", pid] = killed;
      victims.push({ cgroup, name, pid: Number(pid), rssBytes: null });
      continue;
    }
    const sized = sizePattern.exec(message);
    if (sized === null) continue;
    const at = victims.findLastIndex(({ pid, rssBytes }) => pid === Number(sized[1]) && rssBytes === null);
    const victim = victims[at];
    if (victim === undefined) continue;
    const kibibytes = Number(sized[2]) + Number(sized[3]) + Number(sized[4]);
    victims[at] = { ...victim, rssBytes: kibibytes * 1024 };
  }
  return victims;
};

const codeOf = (error: unknown): unknown => (error instanceof Error && "code" in error ? error.code : undefined);

/** `priority,sequence,microseconds,flags;message` and lines of tags that begin with a blank (Documentation/ABI/testing/dev-kmsg). */
const messageOf = (record: string): string => {
  const [line = ""] = record.slice(record.indexOf(";") + 1).split("\n");
  return line;
};

/**
 * The kernel's log, as far as it tells who was killed for memory. It is read only when somebody was: each time what came
 * since, so much at most, and of that the newest victims are remembered.
 */
export class KernelLog implements Disposable {
  readonly #file: number | null;
  readonly #buffer = Buffer.alloc(recordBytes);
  #victims: OomVictim[] = [];

  /** Without the right to read it (CAP_SYSLOG, dmesg_restrict) it knows of nobody. */
  constructor(path = "/dev/kmsg") {
    try {
      this.#file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch {
      this.#file = null;
    }
  }

  /** Those killed in cgroups of which one has this name, oldest first. */
  victimsIn(name: string): OomVictim[] {
    this.#victims = [...this.#victims, ...oomVictims(this.#news())].slice(-victimsMax);
    return this.#victims.filter(({ cgroup }) => cgroup.split("/").includes(name));
  }

  #news(): string[] {
    const messages: string[] = [];
    for (let records = 0; this.#file !== null && records < recordsMax; records += 1) {
      try {
        const size = readSync(this.#file, this.#buffer, 0, recordBytes, null);
        if (size === 0) break;
        const message = messageOf(this.#buffer.toString("utf8", 0, size));
        if (message.includes("oom-kill:") || message.includes("Killed process")) messages.push(message);
      } catch (error) {
        // EPIPE: records were overwritten before they were read, and the next read goes on behind them.
        if (codeOf(error) !== "EPIPE") break;
      }
    }
    return messages;
  }

  [Symbol.dispose](): void {
    if (this.#file !== null) closeSync(this.#file);
  }
}
