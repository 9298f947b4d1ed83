/**
 * Frames of exec and log WebSockets, client to scheduler and agent to scheduler alike: one binary message is one
 * frame, its first byte the channel, the rest the payload.
 */
import { Type, type Static } from "typebox";

export const channels = { stdin: 0, stdout: 1, stderr: 2, control: 3, exit: 4 } as const;
export type Channel = (typeof channels)[keyof typeof channels];

/** Client to process: terminal size, signal, end of input. JSON on the control channel. */
export const StreamControl = Type.Union([
  Type.Object(
    {
      type: Type.Literal("resize"),
      rows: Type.Integer({ minimum: 1, maximum: 10_000 }),
      columns: Type.Integer({ minimum: 1, maximum: 10_000 }),
    },
    { additionalProperties: false },
  ),
  Type.Object(
    { type: Type.Literal("signal"), signal: Type.Integer({ minimum: 1, maximum: 64 }) },
    { additionalProperties: false },
  ),
  Type.Object({ type: Type.Literal("end-of-input") }, { additionalProperties: false }),
]);
export type StreamControl = Static<typeof StreamControl>;

/** Last frame of an exec: how the process ended, or why it never began. JSON on the exit channel. */
export const StreamExit = Type.Object(
  {
    exitCode: Type.Union([Type.Integer(), Type.Null()]),
    signal: Type.Union([Type.Integer(), Type.Null()]),
    error: Type.Optional(Type.Object({ code: Type.String(), detail: Type.String() }, { additionalProperties: false })),
  },
  { additionalProperties: false },
);
export type StreamExit = Static<typeof StreamExit>;

/** Largest payload of one frame, in bytes; keeps one slow reader from holding much memory. */
export const maximumFrameBytes = 64 * 1024;

export const encodeFrame = (channel: Channel, payload: Uint8Array): Uint8Array => {
  const frame = new Uint8Array(payload.byteLength + 1);
  frame[0] = channel;
  frame.set(payload, 1);
  return frame;
};

/** The frame's parts, or undefined when the channel is not one of ours. */
export const decodeFrame = (frame: Uint8Array): { channel: Channel; payload: Uint8Array } | undefined => {
  const channel = frame[0];
  if (channel === undefined || channel > channels.exit) return undefined;
  return { channel: channel as Channel, payload: frame.subarray(1) };
};
