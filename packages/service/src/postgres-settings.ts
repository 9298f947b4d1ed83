/**
 * Server settings for one small control plane: no TCP, little memory at idle (no I/O workers, no parallel workers
 * waiting), durable. Each may be overridden.
 */
export const postgresSettings = (options: {
  socketDir: string;
  port: number;
  hbaFile: string;
  identFile: string;
}): Record<string, string> => ({
  listen_addresses: "",
  unix_socket_directories: options.socketDir,
  unix_socket_permissions: "0777",
  port: String(options.port),
  hba_file: options.hbaFile,
  ident_file: options.identFile,
  max_connections: "64",
  shared_buffers: "32MB",
  work_mem: "4MB",
  maintenance_work_mem: "32MB",
  wal_buffers: "1MB",
  max_wal_size: "512MB",
  min_wal_size: "80MB",
  io_method: "sync",
  max_parallel_workers: "0",
  max_parallel_workers_per_gather: "0",
  max_logical_replication_workers: "0",
  jit: "off",
  huge_pages: "off",
  // A file below the data directory instead of /dev/shm, so that a killed server leaves nothing outside it.
  dynamic_shared_memory_type: "mmap",
  log_timezone: "UTC",
  timezone: "UTC",
  // A statement that waits this long for a row waits for something that is stuck; the caller repeats it.
  lock_timeout: "20s",
  idle_in_transaction_session_timeout: "60s",
});

/** Role that owns our database; the applications log in as it. */
export const databaseRole = "bulkhead";

/** Role of initdb's superuser. */
export const adminRole = "postgres";

/**
 * Who may log in over the socket: the kernel says which account the peer is (SO_PEERCRED), no password exists.
 * `admins` also as superuser, `peers` as the owner of our database only.
 */
export const peerAuthentication = (options: {
  admins: readonly string[];
  peers: readonly string[];
}): { hba: string; ident: string } => {
  const rows = [
    ...options.admins.map((name) => [name, adminRole]),
    ...new Set([...options.admins, ...options.peers]).values().map((name) => [name, databaseRole]),
  ];
  const quoted = (name: string | undefined): string => `"${(name ?? "").replaceAll('"', '""')}"`;
  return {
    hba: "local all all peer map=fleet\n",
    ident: rows.map(([name, role]) => `fleet ${quoted(name)} ${quoted(role)}\n`).join(""),
  };
};
