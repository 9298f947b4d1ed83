export { TestDirectory } from "./directory.ts";
export { startNats, TestNats } from "./nats.ts";
export type { NatsTestOptions, TestCredential } from "./nats.ts";
export { startPostgres, TestPostgres } from "./postgres.ts";
export type { Migrate, PostgresTestOptions } from "./postgres.ts";
export { makeCertificates, type TestCertificates } from "./certificates.ts";
export { DockerRegistry, type RegistryTokens } from "./docker-registry.ts";
