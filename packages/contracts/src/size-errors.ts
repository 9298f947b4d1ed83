/** What is too large; part of the one error table. */
export const sizeErrors = {
  BODY_TOO_LARGE: {
    status: 413,
    retry: false,
    title: "The body is too large",
    remedy: "Send less; the limit is in `detail`.",
  },
  SPEC_TOO_LARGE: {
    status: 413,
    retry: false,
    title: "The specification is too large",
    remedy:
      "Move data from `env`, `command` and `args` into the image or a share; `limits.specBytes` of GET /v1 is the most.",
  },
  IMAGE_TOO_LARGE: {
    status: 413,
    retry: false,
    title: "The image exceeds a limit",
    remedy: "Use a smaller image or raise the limit on the scheduler.",
  },
  ANSWER_TOO_LARGE: {
    status: 500,
    retry: false,
    title: "The answer is too large for the message bus",
    remedy:
      "Ask for less. When an agent asks for its orders: upgrade it to the scheduler's version, which asks in pages.",
  },
} as const;
