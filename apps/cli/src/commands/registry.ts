import { readFileSync } from "node:fs";
import { open, readFile, rename, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { fleetError } from "@bulkhead/contracts/errors";
import { parseReference } from "@bulkhead/images";
import { type Invocation, UsageError } from "../command.ts";
import { readUpSettings } from "../up/settings.ts";

interface AuthFile {
  readonly auths?: Readonly<Record<string, object>>;
}

const registryOf = (invocation: Invocation): string => {
  const [name = ""] = invocation.positionals;
  // A repository behind it makes it a reference, and only a registry comes before the first slash.
  const wrong = new UsageError(`${name}: write a registry as host or host:port.`);
  if (name.includes("/")) throw wrong;
  try {
    const { registry, repository } = parseReference(`${name}/x`);
    if (repository !== "x" && repository !== "library/x") throw wrong;
    return registry;
  } catch {
    throw wrong;
  }
};

const passwordOf = (invocation: Invocation): string => {
  const file = invocation.options.text("password-file");
  // Not as an option's value: every user of the machine could read it there.
  if (file === undefined)
    throw new UsageError("Name the file that holds the password: --password-file FILE (- for standard input).");
  const password = readFileSync(file === "-" ? 0 : file, "utf8").replace(/\r?\n$/, "");
  if (password === "") throw new UsageError(`--password-file ${file}: it is empty.`);
  return password;
};

const readAuth = async (file: string): Promise<AuthFile> => {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "{}";
    throw error;
  });
  try {
    return JSON.parse(text) as AuthFile;
  } catch {
    throw fleetError("CONFIG_INVALID", `${file} is not JSON; correct or remove it.`);
  }
};

/** Replaces the file as a whole; it belongs to whoever owns its directory, which is the scheduler. */
const writeAuth = async (file: string, content: AuthFile): Promise<void> => {
  const owner = await stat(dirname(file)).catch((cause: unknown) => {
    const detail = `${dirname(file)} is not there; start the fleet once with \`bulkhead up\`.`;
    throw fleetError("SETUP_FAILED", detail, { cause });
  });
  const partial = `${file}.partial`;
  await using handle = await open(partial, "w", 0o600);
  // One that was left there may have another mode and owner.
  await handle.chmod(0o600);
  await handle.chown(owner.uid, owner.gid);
  await handle.writeFile(`${JSON.stringify(content, null, 2)}\n`);
  await handle.sync();
  await rename(partial, file);
};

/** `bulkhead registry login REGISTRY -u NAME --password-file FILE` */
export const login = async (invocation: Invocation): Promise<void> => {
  const registry = registryOf(invocation);
  const username = invocation.options.text("username");
  if (username === undefined || username === "" || username.includes(":")) {
    throw new UsageError("--username: write the name that the registry knows you by.");
  }
  const auth = Buffer.from(`${username}:${passwordOf(invocation)}`).toString("base64");
  const { registryAuth } = readUpSettings(invocation.environment).layout;
  const known = await readAuth(registryAuth);
  await writeAuth(registryAuth, { ...known, auths: { ...known.auths, [registry]: { auth } } });
  invocation.print(`${registry}: the next pull uses this login\n`);
};

/** `bulkhead registry logout REGISTRY` */
export const logout = async (invocation: Invocation): Promise<void> => {
  const registry = registryOf(invocation);
  const { registryAuth } = readUpSettings(invocation.environment).layout;
  const known = await readAuth(registryAuth);
  const { [registry]: gone, ...auths } = known.auths ?? {};
  if (gone === undefined) throw fleetError("NOT_FOUND", `There is no login for ${registry}.`);
  await writeAuth(registryAuth, { ...known, auths });
  invocation.print(`${registry}: forgotten\n`);
};
