// Loaded into npm: it leaves out optional packages (compilers, linters: all native parts) whose `engines` the Node that
// runs npm does not meet, and has no option to say that another Node will run them. Debian's Node 18 installs for ours.
const fs = require("node:fs");
const path = require("node:path");

const pinned = fs.readFileSync(path.join(__dirname, "../../.node-version"), "utf8").trim();
Object.defineProperty(process, "version", { value: `v${pinned}` });
