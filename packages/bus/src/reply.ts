import { errors, fleetError, isFleetError, storableText, type ErrorCode, type FleetError } from "@bulkhead/contracts";
import { Type } from "typebox";
import { decode } from "./codec.ts";

/** Header that marks a reply as a failure; its body is then an ErrorReply. */
export const errorHeader = "Bulkhead-Error";

/** Longest text of a failure, in characters: it has to arrive whatever it quotes. */
const detailMax = 16 * 1024;

const ErrorReply = Type.Object({ code: Type.String(), detail: Type.String() }, { additionalProperties: false });

/** A failure as it travels: an error of ours keeps code and detail, any other says nothing of its text. */
export const encodeFailure = (error: unknown): { code: ErrorCode; text: string } => {
  const code = isFleetError(error) ? error.code : "INTERNAL";
  const detail = isFleetError(error) ? error.message : "The handler failed; the other side's log says why.";
  return { code, text: JSON.stringify({ code, detail: storableText(detail, detailMax) }) };
};

/** A failure that came. A code of a newer version that we do not know becomes INTERNAL. */
export const decodeFailure = (text: string): FleetError => {
  const { code, detail } = decode(ErrorReply, text) as { code: string; detail: string };
  return Object.hasOwn(errors, code)
    ? fleetError(code as ErrorCode, detail)
    : fleetError("INTERNAL", `${code}: ${detail}`);
};
