import {
  type DesiredState,
  type InstanceState,
  type Operation,
  type OperationKind,
  type WorkloadSpec,
  fleetError,
} from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { type Change, appendEvents, audit } from "./change.ts";
import { changeDocuments } from "../document-changes.ts";
import { startOperation } from "./operations.ts";
import { type Reference, inProject, referenceValues } from "./workload-rows.ts";

/** What a user may ask of one instance by desired state; `kill` goes to the agent instead. */
export type InstanceAction = "start" | "stop" | "restart" | "pause" | "resume";

interface LockedInstance {
  readonly id: string;
  readonly project: string;
  readonly workloadId: string;
  readonly name: string;
  readonly state: InstanceState;
  readonly desired: DesiredState;
  readonly restartRequest: number;
  readonly removing: boolean;
  readonly attempt: number;
  readonly version: number;
  readonly spec: WorkloadSpec;
  /** an assignment is in force */
  readonly assigned: boolean;
}

const lockInstance = statement<LockedInstance>(
  "api_instance_lock",
  `SELECT i.id, i.project, i.workload_id AS "workloadId", i.name, i.state, i.desired,
          i.restart_request AS "restartRequest", i.removing, i.attempt, i.version, i.spec,
          EXISTS (SELECT 1 FROM assignment s WHERE s.instance_id = i.id AND NOT s.tombstone) AS assigned
   FROM instance i WHERE ($1::text IS NULL OR i.project = $1) AND (i.id = $2::uuid OR i.name = $3) FOR UPDATE OF i`,
);

const updateInstance = statement(
  "api_instance_want",
  `UPDATE instance SET desired = $2, restart_request = $3, state = coalesce($4, state),
     reason = CASE WHEN $4 IS NULL THEN reason ELSE $5 END, version = version + 1 WHERE id = $1`,
);

/** What an action changes; `undefined` when nothing is left to do. */
interface Wanted {
  readonly desired: DesiredState;
  readonly restart: boolean;
  /** state to write at once, for instances that no agent has */
  readonly state?: "stopped" | "pending";
  readonly done: boolean;
}

const ended: readonly InstanceState[] = ["stopped", "failed"];

const conflict = (instance: LockedInstance, action: string, advice: string) =>
  fleetError("STATE_CONFLICT", `Instance ${instance.name} is ${instance.state}; ${action} is not possible. ${advice}`);

/** The rule of each action; throws STATE_CONFLICT. */
const decide = (instance: LockedInstance, action: InstanceAction): Wanted => {
  const { state, desired, assigned } = instance;
  const runAgain: Wanted = assigned
    ? { desired: "running", restart: true, done: false }
    : { desired: "running", restart: false, state: "pending", done: false };
  switch (action) {
    case "stop":
      if (!assigned) return { desired: "stopped", restart: false, state: "stopped", done: true };
      return { desired: "stopped", restart: false, done: ended.includes(state) };
    case "start":
      if (ended.includes(state)) return runAgain;
      if (desired === "stopped") throw conflict(instance, "start", "It is being stopped; wait until it has stopped.");
      if (desired === "paused") throw conflict(instance, "start", "Use resume.");
      return { desired: "running", restart: false, done: state === "running" };
    case "restart":
      if (!assigned && !ended.includes(state)) throw conflict(instance, "restart", "It waits for a host.");
      return runAgain;
    case "pause":
      if (state === "paused" && desired === "paused") return { desired: "paused", restart: false, done: true };
      if (!assigned || desired === "stopped" || !["running", "paused"].includes(state)) {
        throw conflict(instance, "pause", "Only a running instance can be paused.");
      }
      return { desired: "paused", restart: false, done: false };
    case "resume":
      if (state === "running" && desired === "running") return { desired: "running", restart: false, done: true };
      if (desired !== "paused") throw conflict(instance, "resume", "Only a paused instance can be resumed; see start.");
      return { desired: "running", restart: false, done: false };
    default:
      return action satisfies never;
  }
};

const kinds: Readonly<Record<InstanceAction, OperationKind>> = {
  // A start is the restart of what does not run.
  start: "instance.restart",
  stop: "instance.stop",
  restart: "instance.restart",
  pause: "instance.pause",
  resume: "instance.resume",
};

const locked = async (sql: Sql, wanted: Reference): Promise<LockedInstance> => {
  const [instance] = await sql.rows(lockInstance, referenceValues(wanted));
  if (instance === undefined) {
    throw fleetError("NOT_FOUND", `There is no instance ${wanted.idOrName} ${inProject(wanted.project)}.`);
  }
  if (instance.removing) throw fleetError("STATE_CONFLICT", `Instance ${instance.name} is being removed.`);
  return instance;
};

export interface InstanceOrder {
  readonly instance: Reference;
  readonly action: InstanceAction;
  readonly ifVersion?: number;
  /** of a stop: how long it may take; the specification's `stopGraceMs` when absent */
  readonly graceMs?: number;
}

/**
 * Changes what is wanted of an instance and tells its agent. Rejects NOT_FOUND, VERSION_MISMATCH, STATE_CONFLICT with
 * what would be possible. To ask for what is so already succeeds at once.
 */
export const orderInstance = async (sql: Sql, change: Change, order: InstanceOrder): Promise<Operation> => {
  const instance = await locked(sql, order.instance);
  if (order.ifVersion !== undefined && order.ifVersion !== instance.version) {
    throw fleetError(
      "VERSION_MISMATCH",
      `Instance ${instance.name} is at version ${instance.version}, not ${order.ifVersion}.`,
    );
  }
  const wanted = decide(instance, order.action);
  const restartRequest = instance.restartRequest + (wanted.restart ? 1 : 0);
  const moved = wanted.state !== undefined && wanted.state !== instance.state ? wanted.state : null;
  const changed = wanted.desired !== instance.desired || wanted.restart || moved !== null;
  const origin = { ...change, project: instance.project };
  if (changed) {
    const reason = moved === "stopped" ? "StoppedByUser" : null;
    await sql.count(updateInstance, [instance.id, wanted.desired, restartRequest, moved, reason]);
    const patch = {
      desired: wanted.desired,
      restartRequest,
      // Written each time, so that the grace of one stop does not outlive it.
      spec: order.graceMs === undefined ? instance.spec : { ...instance.spec, stopGraceMs: order.graceMs },
      ...(change.traceparent === null ? {} : { traceparent: change.traceparent }),
    };
    if (instance.assigned) await changeDocuments(sql, { instanceIds: [instance.id], patch });
    if (moved !== null) {
      const data = { name: instance.name, state: moved, reason };
      const { workloadId } = instance;
      await appendEvents(sql, origin, [{ type: "instance.state", workloadId, instanceId: instance.id, data }]);
    }
  }
  const [operation] = await Promise.all([
    startOperation(sql, origin, {
      kind: kinds[order.action],
      target: { type: "instance", id: instance.id },
      done: wanted.done,
      ...(wanted.restart ? { expect: { attempt: instance.attempt } } : {}),
    }),
    audit(sql, origin, { verb: `instance.${order.action}`, target: instance.id, data: { name: instance.name } }),
  ]);
  return operation;
};

/** Records a signal that the agent has accepted. */
export const recordKill = async (
  sql: Sql,
  change: Change,
  killed: { readonly instanceId: string; readonly signal: number },
): Promise<Operation> => {
  const target = { type: "instance", id: killed.instanceId } as const;
  const [operation] = await Promise.all([
    startOperation(sql, change, { kind: "instance.kill", target, done: true }),
    audit(sql, change, { verb: "instance.kill", target: killed.instanceId, data: { signal: killed.signal } }),
  ]);
  return operation;
};
