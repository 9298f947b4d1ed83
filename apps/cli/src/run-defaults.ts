/** What `run` uses when nothing is said: enough for a small server. Sizes as typed on the command line. */
export const runDefaults = { cpu: "0.25", memory: "256Mi", timeout: "60s" } as const;
/** How long `images pull` waits: a large image on a slow line. */
export const pullTimeout = "1h";
