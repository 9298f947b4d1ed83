import { fileURLToPath } from "node:url";
import { type BuildFile, type BuildImageInput, buildDebianImage } from "@bulkhead/images";

/** In the checkout, where git ignores it: it outlives a test run and is no leak. */
const cacheDir = fileURLToPath(new URL("../../../../node_modules/.cache/bulkhead-images", import.meta.url));

/** Builds an image for a test, or finds it in the cache; answers the path of an OCI image layout tar. Needs root. */
export const buildImage = (input: BuildImageInput): Promise<string> => buildDebianImage(input, { cacheDir });

const busybox = { packages: ["busybox-static"], busyboxApplets: true } as const;

/** A shell and its tools; runs `sh` unless told otherwise. `extra` adds to or replaces what the image has. */
export const busyboxImage = (extra: Partial<BuildImageInput> = {}): Promise<string> =>
  buildImage({ ...busybox, cmd: ["sh"], name: "busybox:latest", ...extra });

const redisConf = [
  "bind 127.0.0.1",
  "port 6379",
  "unixsocket /run/redis/redis.sock",
  "unixsocketperm 777",
  "dir /var/lib/redis",
  'save ""',
  "daemonize no",
  'logfile ""',
  "",
].join("\n");

/** Debian's redis-server as its own user, on 127.0.0.1:6379 and /run/redis/redis.sock; has redis-cli and busybox. */
export const redisImage = (files: Readonly<Record<string, BuildFile>> = {}): Promise<string> =>
  buildImage({
    packages: ["redis-server", "redis-tools", ...busybox.packages],
    busyboxApplets: true,
    users: { redis: 999 },
    directories: {
      "/var/lib/redis": { mode: 0o750, uid: 999, gid: 999 },
      "/run/redis": { mode: 0o755, uid: 999, gid: 999 },
    },
    files: { "/etc/redis/redis.conf": { content: redisConf, mode: 0o644 }, ...files },
    entrypoint: ["/usr/bin/redis-server"],
    cmd: ["/etc/redis/redis.conf"],
    user: "redis",
    workdir: "/var/lib/redis",
    stopSignal: "SIGTERM",
    name: "redis:7",
  });

const nginxConf = `user www-data;
worker_processes 1;
daemon off;
pid /run/nginx.pid;
error_log stderr info;
events { worker_connections 64; }
http {
  access_log /dev/stdout;
  server { listen 127.0.0.1:8080; root /usr/share/nginx/html; }
}
`;

/** Debian's nginx on 127.0.0.1:8080, started as root with a worker of its own user; has busybox (wget). */
export const nginxImage = (files: Readonly<Record<string, BuildFile>> = {}): Promise<string> =>
  buildImage({
    packages: ["nginx", "nginx-common", ...busybox.packages],
    busyboxApplets: true,
    users: { "www-data": 33 },
    directories: { "/var/log/nginx": { uid: 33, gid: 33 }, "/var/lib/nginx": { uid: 33, gid: 33 } },
    files: {
      "/etc/nginx/nginx.conf": { content: nginxConf },
      "/usr/share/nginx/html/index.html": { content: "hello from nginx\n" },
      ...files,
    },
    entrypoint: ["/usr/sbin/nginx"],
    cmd: ["-c", "/etc/nginx/nginx.conf"],
    stopSignal: "SIGQUIT",
    name: "nginx:1",
  });
