import type {
  AttachShare,
  CreateKernel,
  CreateShare,
  CreateNetwork,
  CreateToken,
  CreateWorkload,
  Host,
  Image,
  Instance,
  Kernel,
  InstanceView,
  Network,
  Operation,
  PatchWorkload,
  PullImage,
  RestoreSnapshot,
  Share,
  ShareChange,
  ShareGraph,
  Snapshot,
  Token,
  ViewInstance,
  Workload,
} from "@bulkhead/contracts";
import { watchEvents, type WatchEvents } from "./events.ts";
import type { ExecOptions, ExecStream } from "./exec.ts";
import { listAll } from "./pages.ts";
import { segment } from "./request.ts";
import { Transport, type ClientOptions } from "./transport.ts";
import { waitFor } from "./wait.ts";

/** What `POST` of a workload with `dryRun` answers: what would be made and where it would run. */
export interface Placement {
  readonly [key: string]: unknown;
}

export interface WaitOptions {
  /** in milliseconds */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface LogOptions {
  readonly follow?: boolean;
  readonly tail?: number;
  readonly since?: string;
  readonly timestamps?: boolean;
  readonly signal?: AbortSignal;
}

export interface ApiInformation {
  readonly version: string;
  readonly features: readonly string[];
  readonly [key: string]: unknown;
}

/** Actions on one instance; each answers with the operation that carries it out. */
export type InstanceAction = "stop" | "start" | "restart" | "pause" | "resume" | "kill";

/** Typed client of the HTTP API. Objects are named by id or by name. Every failure is a FleetError. */
export const createClient = (options: ClientOptions) => {
  const transport = new Transport(options);
  const get = <Body>(path: string, query = {}): Promise<Body> => transport.json({ method: "GET", path, query });
  return {
    transport,
    information: () => get<ApiInformation>("/v1"),
    workloads: {
      create: (body: CreateWorkload) =>
        transport.json<Operation>({ method: "POST", path: "/v1/workloads", json: body }),
      plan: (body: CreateWorkload) =>
        transport.json<Placement>({ method: "POST", path: "/v1/workloads", query: { dryRun: true }, json: body }),
      list: () => listAll<Workload>(transport, "/v1/workloads"),
      get: (workload: string) => get<Workload>(`/v1/workloads/${segment(workload)}`),
      /** `generation`: refuse when the workload has changed since (VERSION_MISMATCH) */
      patch: (workload: string, body: PatchWorkload, generation?: number) =>
        transport.json<Operation>({
          method: "PATCH",
          path: `/v1/workloads/${segment(workload)}`,
          json: body,
          headers: {
            "content-type": "application/merge-patch+json",
            ...(generation === undefined ? {} : { "if-match": `"${generation}"` }),
          },
        }),
      remove: (workload: string, graceMs?: number) =>
        transport.json<Operation>({ method: "DELETE", path: `/v1/workloads/${segment(workload)}`, query: { graceMs } }),
    },
    instances: {
      list: (query: { readonly workload?: string } = {}) => listAll<Instance>(transport, "/v1/instances", query),
      get: (instance: string) => get<Instance>(`/v1/instances/${segment(instance)}`),
      wait: (instance: string, state: string, wait: WaitOptions) =>
        waitFor<Instance>(transport, {
          path: `/v1/instances/${segment(instance)}/wait`,
          query: { for: state },
          what: `State ${state} of ${instance}`,
          ...wait,
        }),
      act: (instance: string, action: InstanceAction, body?: { readonly graceMs?: number; readonly signal?: number }) =>
        transport.json<Operation>({
          method: "POST",
          path: `/v1/instances/${segment(instance)}/${action}`,
          ...(body === undefined ? {} : { json: body }),
        }),
      view: (instance: string, query: { readonly seccompFrom?: ViewInstance["seccompFrom"] } = {}) =>
        get<InstanceView>(`/v1/instances/${segment(instance)}/view`, query),
      logs: async (instance: string, { signal, ...query }: LogOptions = {}): Promise<AsyncIterable<Uint8Array>> => {
        const answer = await transport.send({
          method: "GET",
          path: `/v1/instances/${segment(instance)}/logs`,
          query,
          ...(signal === undefined ? {} : { signal }),
        });
        return answer.body ?? (async function* () {})();
      },
      exec: async (instance: string, exec: ExecOptions): Promise<ExecStream> => {
        // WebSocket code is only loaded by those who open one: commands start faster without it.
        const { openExec } = await import("./exec.ts");
        return openExec(transport, instance, exec);
      },
    },
    kernels: {
      create: (body: CreateKernel) => transport.json<Kernel>({ method: "POST", path: "/v1/kernels", json: body }),
      list: () => listAll<Kernel>(transport, "/v1/kernels"),
      get: (kernel: string) => get<Kernel>(`/v1/kernels/${segment(kernel)}`),
      remove: async (kernel: string): Promise<void> => {
        await transport.send({ method: "DELETE", path: `/v1/kernels/${segment(kernel)}` });
      },
    },
    snapshots: {
      /** the operation's target is the snapshot */
      create: (instance: string) =>
        transport.json<Operation>({ method: "POST", path: `/v1/instances/${segment(instance)}/snapshots` }),
      list: () => listAll<Snapshot>(transport, "/v1/snapshots"),
      get: (snapshot: string) => get<Snapshot>(`/v1/snapshots/${segment(snapshot)}`),
      /** the operation's target is the workload that the copies are */
      restore: (snapshot: string, body: RestoreSnapshot) =>
        transport.json<Operation>({
          method: "POST",
          path: `/v1/snapshots/${segment(snapshot)}/restore`,
          json: body,
        }),
      verify: (snapshot: string) =>
        transport.json<Operation>({ method: "POST", path: `/v1/snapshots/${segment(snapshot)}/verify` }),
      remove: (snapshot: string) =>
        transport.json<Snapshot>({ method: "DELETE", path: `/v1/snapshots/${segment(snapshot)}` }),
    },
    networks: {
      create: (body: CreateNetwork) => transport.json<Network>({ method: "POST", path: "/v1/networks", json: body }),
      list: () => listAll<Network>(transport, "/v1/networks"),
      get: (network: string) => get<Network>(`/v1/networks/${segment(network)}`),
      remove: async (network: string): Promise<void> => {
        await transport.send({ method: "DELETE", path: `/v1/networks/${segment(network)}` });
      },
    },
    hosts: {
      list: () => listAll<Host>(transport, "/v1/hosts"),
      get: (host: string) => get<Host>(`/v1/hosts/${segment(host)}`),
      endUnknown: async (host: string, instanceId: string, graceMs?: number): Promise<void> => {
        const path = `/v1/hosts/${segment(host)}/unknown/${segment(instanceId)}`;
        await transport.send({ method: "DELETE", path, query: { graceMs } });
      },
      patch: (host: string, body: { readonly cordoned?: boolean; readonly labels?: Record<string, string | null> }) =>
        transport.json<Host>({
          method: "PATCH",
          path: `/v1/hosts/${segment(host)}`,
          json: body,
          headers: { "content-type": "application/merge-patch+json" },
        }),
    },
    images: {
      list: () => listAll<Image>(transport, "/v1/images"),
      get: (image: string) => get<Image>(`/v1/images/${segment(image)}`),
      remove: async (image: string): Promise<void> => {
        await transport.send({ method: "DELETE", path: `/v1/images/${segment(image)}` });
      },
      /** Has the scheduler fetch an image from a registry. */
      pull: (body: PullImage) => transport.json<Operation>({ method: "POST", path: "/v1/images", json: body }),
      /** Sends an OCI layout or docker archive; resolves when it is verified and stored. */
      import: (
        name: string | undefined,
        archive: { readonly content: AsyncIterable<Uint8Array>; readonly name: string },
      ) =>
        transport.json<Image>({
          method: "POST",
          path: "/v1/images",
          query: { name },
          stream: archive.content,
          streamName: archive.name,
          headers: { "content-type": "application/x-tar" },
        }),
    },
    shares: {
      create: (body: CreateShare) => transport.json<Share>({ method: "POST", path: "/v1/shares", json: body }),
      list: () => listAll<Share>(transport, "/v1/shares"),
      get: (share: string) => get<Share>(`/v1/shares/${segment(share)}`),
      graph: () => get<ShareGraph>("/v1/shares/graph"),
      remove: (share: string) => transport.json<Share>({ method: "DELETE", path: `/v1/shares/${segment(share)}` }),
      attach: (instance: string, share: string, body: AttachShare) =>
        transport.json<ShareChange>({
          method: "PUT",
          path: `/v1/instances/${segment(instance)}/shares/${segment(share)}`,
          json: body,
        }),
      detach: (instance: string, share: string) =>
        transport.json<ShareChange>({
          method: "DELETE",
          path: `/v1/instances/${segment(instance)}/shares/${segment(share)}`,
        }),
    },
    operations: {
      get: (operation: string) => get<Operation>(`/v1/operations/${segment(operation)}`),
      wait: (operation: string, wait: WaitOptions) =>
        waitFor<Operation>(transport, {
          path: `/v1/operations/${segment(operation)}/wait`,
          what: "The end of the operation",
          ...wait,
        }),
    },
    tokens: {
      /** The secret is in this answer only. */
      create: (body: CreateToken) => transport.json<Token>({ method: "POST", path: "/v1/tokens", json: body }),
      list: () => listAll<Token>(transport, "/v1/tokens"),
      revoke: (token: string) => transport.json<Token>({ method: "DELETE", path: `/v1/tokens/${segment(token)}` }),
    },
    events: (watch: WatchEvents) => watchEvents(transport, watch),
  };
};

export type Client = ReturnType<typeof createClient>;
