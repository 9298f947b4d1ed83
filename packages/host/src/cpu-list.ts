/** CPU ids of a kernel list such as `0-3,8,10-11` (cpuset(7), "List format"); empty text is no CPU. */
export const parseCpuList = (text: string): number[] =>
  text
    .trim()
    .split(",")
    .filter((part) => part !== "")
    .flatMap((part) => {
      const [first = 0, last = first] = part.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
    });

/** The shortest kernel list of CPU ids, sorted: what the kernel itself prints. */
export const formatCpuList = (cpuIds: Iterable<number>): string => {
  const runs: { first: number; last: number }[] = [];
  for (const id of [...new Set(cpuIds)].sort((a, b) => a - b)) {
    const newest = runs.at(-1);
    if (newest !== undefined && newest.last === id - 1) newest.last = id;
    else runs.push({ first: id, last: id });
  }
  return runs.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`)).join(",");
};
