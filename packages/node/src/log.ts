/** What the agent needs of a logger: constant messages, data in fields. A pino logger fits. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** The text of whatever was thrown. */
export const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
