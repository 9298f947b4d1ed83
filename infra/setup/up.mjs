import { runMain } from "./progress.mjs";
import { setUp } from "./setup.mjs";

// The package script goes on with `exec node … up` itself: no process of set-up stays between npm and the fleet.
await runMain(() => setUp({ needsRoot: "npm run up" }));
