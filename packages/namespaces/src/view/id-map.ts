export interface IdMapLine {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/** /proc/PID/uid_map as the host reads it (user_namespaces(7)). */
export const parseIdMap = (text: string): IdMapLine[] =>
  text
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([inside, outside, count]) =>
      inside === undefined || outside === undefined || count === undefined ? [] : [{ inside, outside, count }],
    );

/** A host's id as it is seen inside; null when nobody there has it. */
export const insideId = (map: readonly IdMapLine[], hostId: number): number | null => {
  const line = map.find(({ outside, count }) => hostId >= outside && hostId < outside + count);
  return line === undefined ? null : hostId - line.outside + line.inside;
};
