import type { Fleet } from "../fleet.ts";

/** Tells when the event stream said that an instance runs, on performance.now()'s clock. */
export interface Watch extends AsyncDisposable {
  running(instanceName: string): Promise<number>;
}

interface Seen {
  readonly at: number;
}

/** Follows /v1/events from now on. */
export const watchRunning = async (fleet: Fleet): Promise<Watch> => {
  const seen = new Map<string, Seen>();
  const waiting = new Map<string, (at: number) => void>();
  const stop = new AbortController();
  const response = await fetch(`${fleet.apiUrl}/v1/events`, {
    headers: { authorization: `Bearer ${fleet.token}`, accept: "text/event-stream" },
    signal: stop.signal,
  });
  if (response.status !== 200 || response.body === null) throw new Error(`/v1/events answered ${response.status}`);
  const { body } = response;
  const follow = (async () => {
    let rest = "";
    for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
      const at = performance.now();
      rest += chunk;
      const blocks = rest.split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const data = block.split("\n").find((line) => line.startsWith("data: "));
        if (data === undefined) continue;
        const event = JSON.parse(data.slice("data: ".length)) as {
          type: string;
          data: { name?: string; state?: string };
        };
        if (event.type !== "instance.state" || event.data.state !== "running" || event.data.name === undefined)
          continue;
        seen.set(event.data.name, { at });
        waiting.get(event.data.name)?.(at);
        waiting.delete(event.data.name);
      }
    }
  })().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
  return {
    running: (name) => {
      const earlier = seen.get(name);
      if (earlier !== undefined) return Promise.resolve(earlier.at);
      return new Promise((resolve, reject) => {
        const deadline = setTimeout(() => reject(new Error(`${name} was not seen running within 30 s`)), 30_000);
        waiting.set(name, (at) => {
          clearTimeout(deadline);
          resolve(at);
        });
      });
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await follow;
    },
  };
};
