import type { RestoreSnapshot } from "@bulkhead/contracts";
import type { FastifyRequest } from "fastify";
import { Type } from "typebox";
import { assertNoFaults } from "../admission/fault.ts";
import { nameFaults } from "../admission/spec-rules.ts";
import { accepted, answers, byReference, dryRun, query, ref } from "../http/answers.ts";
import { entityTag, ifMatch } from "../http/entity-tag.ts";
import { answerOnce, rehearse } from "../http/once.ts";
import { addGet, addList } from "../http/reading.ts";
import { changeOf } from "../http/request-context.ts";
import { instanceReference } from "./instances.ts";
import type { AddRoutes } from "./route-context.ts";

const tags = ["snapshots"];
const nothing = Type.Union([Type.Object({}, { additionalProperties: false }), Type.Null()]);
const one = byReference("snapshot", "id");

const referenceOf = (request: FastifyRequest<{ Params: { snapshot: string } }>) => ({
  project: request.project,
  idOrName: request.params.snapshot,
});

export const addSnapshotRoutes: AddRoutes = (app, { inventory, control }) => {
  app.post<{ Params: { instance: string }; Querystring: { dryRun?: boolean } }>(
    "/v1/instances/:instance/snapshots",
    {
      config: { access: "write" },
      schema: {
        operationId: "createSnapshot",
        summary: "Take a running VM to files of its host; it goes on. The operation's target is the snapshot",
        tags,
        params: byReference("instance", "id or name"),
        querystring: query({ dryRun }),
        body: nothing,
        response: answers({
          200: { description: "dry run: the instance as it is", schema: ref("Instance") },
          202: { description: "accepted", schema: ref("Operation") },
        }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const instance = instanceReference(request);
      const ifVersion = ifMatch(request);
      const wanted = { instance, ...(ifVersion === undefined ? {} : { ifVersion }) };
      if (request.query.dryRun === true) {
        await rehearse(inventory, (tx) => tx.createSnapshot(change, wanted));
        return reply.send(await inventory.read.instance(instance));
      }
      await answerOnce({ request, reply, inventory }, async (tx) => accepted(await tx.createSnapshot(change, wanted)));
      control.wake();
      return reply;
    },
  );

  addList(app, {
    noun: "snapshots",
    schema: "Snapshot",
    summary: "List snapshots in the order they were taken",
    read: ({ project }, page) => inventory.read.snapshots(project, page),
  });

  addGet(app, {
    noun: "snapshots",
    member: "snapshot",
    schema: "Snapshot",
    summary: "One snapshot",
    params: one,
    read: (reference) => inventory.read.snapshot(reference),
  });

  app.post<{ Params: { snapshot: string }; Body: RestoreSnapshot; Querystring: { dryRun?: boolean } }>(
    "/v1/snapshots/:snapshot/restore",
    {
      config: { access: "write" },
      schema: {
        operationId: "restoreSnapshot",
        summary: "Declare a workload whose instances begin as copies of a snapshot, on its host",
        tags,
        params: one,
        querystring: query({ dryRun }),
        body: ref("RestoreSnapshot"),
        response: answers({
          200: { description: "dry run: the snapshot, which could be restored", schema: ref("Snapshot") },
          202: { description: "accepted", schema: ref("Operation") },
        }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const wanted = { ...request.body, snapshot: referenceOf(request) };
      if (wanted.name !== undefined) assertNoFaults(nameFaults(wanted.name, wanted.copies ?? 1));
      if (request.query.dryRun === true) {
        await rehearse(inventory, (tx) => tx.restoreSnapshot(change, wanted));
        return reply.send(await inventory.read.snapshot(wanted.snapshot));
      }
      await answerOnce({ request, reply, inventory }, async (tx) =>
        accepted(await tx.restoreSnapshot(change, wanted), { etag: entityTag(1) }),
      );
      control.wake();
      return reply;
    },
  );

  app.post<{ Params: { snapshot: string }; Querystring: { dryRun?: boolean } }>(
    "/v1/snapshots/:snapshot/verify",
    {
      config: { access: "write" },
      schema: {
        operationId: "verifySnapshot",
        summary: "Have a snapshot's host read all of its files; the operation fails when one is not what was written",
        tags,
        params: one,
        querystring: query({ dryRun }),
        body: nothing,
        response: answers({
          200: { description: "dry run: the snapshot, which could be verified", schema: ref("Snapshot") },
          202: { description: "accepted", schema: ref("Operation") },
        }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const wanted = referenceOf(request);
      if (request.query.dryRun === true) {
        await rehearse(inventory, (tx) => tx.verifySnapshot(change, wanted));
        return reply.send(await inventory.read.snapshot(wanted));
      }
      await answerOnce({ request, reply, inventory }, async (tx) => accepted(await tx.verifySnapshot(change, wanted)));
      control.wake();
      return reply;
    },
  );

  app.delete<{ Params: { snapshot: string }; Querystring: { dryRun?: boolean } }>(
    "/v1/snapshots/:snapshot",
    {
      config: { access: "write" },
      schema: {
        operationId: "deleteSnapshot",
        summary: "Delete a snapshot that no workload was restored from, and its files",
        tags,
        params: one,
        querystring: query({ dryRun }),
        response: answers({
          200: { description: "dry run: it could be deleted", schema: ref("Snapshot") },
          202: { description: "its host removes the files", schema: ref("Snapshot") },
        }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const wanted = referenceOf(request);
      if (request.query.dryRun === true) {
        await rehearse(inventory, (tx) => tx.deleteSnapshot(change, wanted));
        return reply.send(await inventory.read.snapshot(wanted));
      }
      const snapshot = await inventory.write((tx) => tx.deleteSnapshot(change, wanted));
      control.wake();
      return reply.code(202).send(snapshot);
    },
  );
};
