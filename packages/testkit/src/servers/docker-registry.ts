import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { request } from "node:https";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { TestDirectory } from "./directory.ts";
import { type TestCertificates, makeCertificates } from "./certificates.ts";

const execute = promisify(execFile);

/** A token server that the registry trusts. */
export interface RegistryTokens {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
}

const startMs = 20_000;

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
};

/** Debian's docker-registry with TLS; with a password, or with tokens, over one store. */
export class DockerRegistry implements AsyncDisposable {
  readonly username = "ann";
  readonly password = "correct horse";
  readonly certificates: TestCertificates;
  readonly #directory: TestDirectory;
  readonly #processes: ChildProcess[] = [];

  private constructor(directory: TestDirectory, certificates: TestCertificates) {
    this.#directory = directory;
    this.certificates = certificates;
  }

  static async make(): Promise<DockerRegistry> {
    const directory = await TestDirectory.make("registry");
    return new DockerRegistry(directory, await makeCertificates(directory.path));
  }

  /** Starts one that asks for a name and password; answers its `host:port`. */
  async withPassword(): Promise<string> {
    const file = join(this.#directory.path, "htpasswd");
    // The registry takes bcrypt alone (-B).
    await execute("htpasswd", ["-Bbc", "-C", "4", file, this.username, this.password]);
    return this.#start({ htpasswd: { realm: "registry", path: file } });
  }

  /** Starts one over the same store that asks for tokens signed with the server's key. */
  withTokens(tokens: RegistryTokens): Promise<string> {
    return this.#start({ token: { ...tokens, rootcertbundle: this.certificates.caFile } });
  }

  async #start(auth: object): Promise<string> {
    const { certFile, keyFile } = this.certificates;
    const host = `127.0.0.1:${await freePort()}`;
    const config = join(this.#directory.path, `${host.replace(":", "-")}.yml`);
    const storage = { filesystem: { rootdirectory: join(this.#directory.path, "store") }, delete: { enabled: true } };
    const http = { addr: host, secret: "test", tls: { certificate: certFile, key: keyFile } };
    // JSON is YAML.
    await writeFile(config, JSON.stringify({ version: "0.1", log: { level: "error" }, storage, http, auth }));
    const child = spawn("docker-registry", ["serve", config], { stdio: ["ignore", "ignore", "pipe"] });
    this.#processes.push(child);
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8");
    });
    const giveUpAt = performance.now() + startMs;
    while (!(await answers(host))) {
      if (child.exitCode !== null || performance.now() > giveUpAt) throw new Error(`docker-registry: ${said}`);
      await delay(50);
    }
    return host;
  }

  /** Copies an image with skopeo; `more` are options of skopeo copy. */
  async push(from: string, to: string, more: readonly string[] = []): Promise<void> {
    const { trustDirectory } = this.certificates;
    const credential = ["--dest-creds", `${this.username}:${this.password}`, "--dest-cert-dir", trustDirectory];
    await execute("skopeo", ["--insecure-policy", "copy", "-q", ...credential, ...more, from, `docker://${to}`]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
    await this.#directory[Symbol.asyncDispose]();
  }
}

const answers = (host: string): Promise<boolean> =>
  new Promise((resolve) => {
    const asked = request(`https://${host}/v2/`, { rejectUnauthorized: false }, (answer) => {
      answer.resume();
      resolve(true);
    });
    asked.once("error", () => resolve(false));
    asked.end();
  });
