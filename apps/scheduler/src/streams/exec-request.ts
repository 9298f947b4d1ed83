import { OpenExec, channels, decodeFrame, fleetError } from "@bulkhead/contracts";
import { type Static, Type } from "typebox";
import { Compile } from "typebox/compile";
import type { RawData, WebSocket } from "ws";

/** What a client says of the command it wants, in the query or as its first frame (JSON on the control channel). */
const ExecRequestSchema = Type.Omit(OpenExec, ["streamId", "url", "token", "instanceId"], {
  additionalProperties: false,
});
export type ExecRequest = Static<typeof ExecRequestSchema>;

const check = Compile(ExecRequestSchema);

/** The first frame must come within this time, in milliseconds. */
const firstFrameMs = 10_000;

const invalid = (detail: string, pointer: string) =>
  fleetError("REQUEST_INVALID", detail, { fields: { errors: [{ pointer, message: detail }] } });

const checked = (value: unknown): ExecRequest => {
  const error = check.Errors(value)[0];
  if (error !== undefined)
    throw invalid(`The exec request is invalid: ${error.instancePath} ${error.message}.`, error.instancePath);
  return value as ExecRequest;
};

const json = (text: string, field: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid(`\`${field}\` must be JSON.`, `/${field}`);
  }
};

/** The query of an exec, its numbers and booleans read already. */
export interface ExecQuery {
  readonly command?: string;
  readonly env?: string;
  readonly project?: string;
  readonly [name: string]: string | number | boolean | undefined;
}

/** The request as the query gives it; undefined without `command`. Throws REQUEST_INVALID. */
export const execFromQuery = (query: ExecQuery): ExecRequest | undefined => {
  const { command, env, project: _project, ...rest } = query;
  if (command === undefined) {
    if (Object.keys(rest).length > 0 || env !== undefined) throw invalid("`command` is required.", "/command");
    return undefined;
  }
  return checked({
    tty: false,
    ...rest,
    command: json(command, "command"),
    ...(env === undefined ? {} : { env: json(env, "env") }),
  });
};

/** A message as `ws` emits it. */
export interface EarlyMessage {
  readonly data: RawData;
  readonly isBinary: boolean;
}

/**
 * Waits for the first frame of a client and stops reading after it. `early` is what came with it in one piece, to be
 * handled before what follows. Rejects REQUEST_INVALID when the frame is something else or does not come.
 */
export const firstRequest = async (
  client: WebSocket,
): Promise<{ request: ExecRequest; early: readonly EarlyMessage[] }> => {
  const received: EarlyMessage[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => reject(invalid(`No exec request came within ${firstFrameMs} ms.`, "")), firstFrameMs);
  const onMessage = (data: RawData, isBinary: boolean) => {
    received.push({ data, isBinary });
    client.pause();
    resolve(undefined);
  };
  const onClose = () => reject(invalid("The client went away.", ""));
  client.on("message", onMessage);
  client.once("close", onClose);
  client.resume();
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    client.off("message", onMessage);
    client.off("close", onClose);
  }
  const [first, ...early] = received;
  const frame = first === undefined ? undefined : decodeFrame(first.data as Buffer);
  if (frame?.channel !== channels.control) throw invalid("The first frame must be the exec request.", "");
  const given = json(Buffer.from(frame.payload).toString("utf8"), "first frame");
  if (typeof given !== "object" || given === null) throw invalid("The exec request must be an object.", "");
  return { request: checked({ tty: false, ...given }), early };
};
