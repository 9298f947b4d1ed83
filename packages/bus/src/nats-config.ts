/** What natsServerConfig() writes; sizes in bytes, times in seconds. */
export interface NatsServerSettings {
  readonly serverName: string;
  /** address to listen on (default 127.0.0.1) */
  readonly host?: string;
  /** -1: any free port, told in a file of `portsDir` */
  readonly port: number;
  readonly portsDir?: string;
  /** where streams are kept; without it JetStream is off */
  readonly jetStreamDir?: string;
  /** operator mode: who may connect is decided by JWTs alone; without it anyone on the address may (tests) */
  readonly trust?: {
    readonly operatorJwt: string;
    readonly systemAccount: string;
    /** account public key -> account JWT */
    readonly accounts: Readonly<Record<string, string>>;
  };
}

/** A whole desired-state document of a full host is a few MiB; from 8 MiB on the server warns. */
export const maxPayloadBytes = 8 * 1024 * 1024;

const quote = (text: string): string => JSON.stringify(text);

/** The part that makes any NATS server trust our accounts; the administrator of an external one includes it. */
export const natsTrustConfig = (trust: NonNullable<NatsServerSettings["trust"]>): string =>
  [
    `operator: ${quote(trust.operatorJwt)}`,
    `system_account: ${quote(trust.systemAccount)}`,
    "resolver: MEMORY",
    "resolver_preload {",
    ...Object.entries(trust.accounts).map(([key, jwt]) => `  ${key}: ${quote(jwt)}`),
    "}",
    "",
  ].join("\n");

/**
 * Configuration text for nats-server 2.9 and newer: loopback, client protocol only (no monitoring, WebSocket, MQTT or
 * leaf node port), a silent client is noticed after 20 to 30 s, memory and disk bounded.
 */
export const natsServerConfig = (settings: NatsServerSettings): string => {
  const { trust, jetStreamDir } = settings;
  const lines = [
    `server_name: ${quote(settings.serverName)}`,
    `listen: ${quote(`${settings.host ?? "127.0.0.1"}:${settings.port}`)}`,
    `max_payload: ${maxPayloadBytes}`,
    `max_pending: ${4 * maxPayloadBytes}`,
    "max_connections: 20000",
    'ping_interval: "10s"',
    "ping_max: 2",
    'write_deadline: "10s"',
    'lame_duck_duration: "30s"',
  ];
  if (settings.portsDir !== undefined) lines.push(`ports_file_dir: ${quote(settings.portsDir)}`);
  if (jetStreamDir !== undefined) {
    lines.push(
      "jetstream {",
      `  store_dir: ${quote(jetStreamDir)}`,
      `  max_memory_store: ${16 * 1024 * 1024}`,
      `  max_file_store: ${512 * 1024 * 1024}`,
      "}",
    );
  }
  if (trust !== undefined) lines.push(natsTrustConfig(trust).trimEnd());
  return `${lines.join("\n")}\n`;
};
