import { addon, type SelfTest } from "./addon.ts";

const kvmDevice = "/dev/kvm";

/**
 * What this host's KVM says of itself: what KVM_CHECK_EXTENSION answers, by the capability's name in linux/kvm.h.
 * Throws an error with Node's `code` and `syscall`: ENOENT without KVM, ENOTSUP with `path` naming what it lacks.
 */
export const probe = (device: string = kvmDevice): Readonly<Record<string, number>> => addon.probe(device);

/** What this host's KVM is found to do with a guest of a few dozen instructions, within five seconds. Rejects as `probe`. */
export const selfTest = (device: string = kvmDevice): Promise<SelfTest> => addon.selfTest(device);

/**
 * Keeps a thread of any process on some of the host's CPUs, and reads back that it is so. Throws an error with Node's `code`:
 * EINVAL when its cpuset lacks one of them or the thread is the kernel's, ESRCH when it has ended.
 */
export const runOn = (tid: number, cpus: readonly number[]): void => addon.runOn(tid, cpus);

/**
 * The next part of an open file, at or after `offset`, that is no hole, in bytes; undefined when all the rest is one. Moves
 * the descriptor's own offset. Throws an error with Node's `code`.
 */
export const nextData = (descriptor: number, offset: number): [from: number, to: number] | undefined =>
  addon.nextData(descriptor, offset);
