-- CreateTable
CREATE TABLE "cluster" (
    "singleton" BOOLEAN NOT NULL DEFAULT true,
    "id" UUID NOT NULL,
    "era" INTEGER NOT NULL DEFAULT 1,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "cluster_pkey" PRIMARY KEY ("singleton")
);

-- CreateTable
CREATE TABLE "lease" (
    "name" TEXT NOT NULL,
    "term" BIGINT NOT NULL,
    "holder" TEXT NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "lease_pkey" PRIMARY KEY ("name")
);

-- CreateTable
CREATE TABLE "project" (
    "name" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "project_pkey" PRIMARY KEY ("name")
);

-- CreateTable
CREATE TABLE "token" (
    "id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "hash" BYTEA NOT NULL,
    "role" TEXT NOT NULL,
    "project" TEXT,
    "host_id" UUID,
    "isolation" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "revoked_at" TIMESTAMPTZ(3),

    CONSTRAINT "token_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "workload" (
    "id" UUID NOT NULL,
    "project" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "generation" INTEGER NOT NULL DEFAULT 1,
    "spec" JSONB NOT NULL,
    "image_digest" TEXT NOT NULL,
    "deleting" BOOLEAN NOT NULL DEFAULT false,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "workload_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "instance" (
    "id" UUID NOT NULL,
    "project" TEXT NOT NULL,
    "workload_id" UUID NOT NULL,
    "slot" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "isolation" TEXT NOT NULL,
    "generation" INTEGER NOT NULL,
    "seen_generation" INTEGER NOT NULL DEFAULT 0,
    "spec" JSONB NOT NULL,
    "image_digest" TEXT NOT NULL,
    "state" TEXT NOT NULL DEFAULT 'pending',
    "desired" TEXT NOT NULL DEFAULT 'running',
    "restart_request" INTEGER NOT NULL DEFAULT 0,
    "removing" BOOLEAN NOT NULL DEFAULT false,
    "host_id" UUID,
    "era" INTEGER,
    "epoch_n" INTEGER,
    "attempt" INTEGER NOT NULL DEFAULT 0,
    "restarts" INTEGER NOT NULL DEFAULT 0,
    "reason" TEXT,
    "detail" TEXT,
    "rejections" JSONB NOT NULL DEFAULT '[]',
    "exit" JSONB,
    "resize" JSONB,
    "contract_held" BOOLEAN,
    "traceparent" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "started_at" TIMESTAMPTZ(3),
    "version" INTEGER NOT NULL DEFAULT 1,

    CONSTRAINT "instance_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "assignment" (
    "instance_id" UUID NOT NULL,
    "era" INTEGER NOT NULL,
    "n" INTEGER NOT NULL,
    "host_id" UUID NOT NULL,
    "isolation" TEXT NOT NULL,
    "document" JSONB NOT NULL,
    "doc_version" BIGINT NOT NULL,
    "tombstone" BOOLEAN NOT NULL DEFAULT false,
    "grace_ms" INTEGER NOT NULL DEFAULT 10000,
    "gone_at" TIMESTAMPTZ(3),
    "cpu_millis" INTEGER NOT NULL,
    "memory_bytes" BIGINT NOT NULL,
    "cpu_ids" INTEGER[] DEFAULT ARRAY[]::INTEGER[],
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "assignment_pkey" PRIMARY KEY ("instance_id","era","n")
);

-- CreateTable
CREATE TABLE "host" (
    "id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "labels" JSONB NOT NULL DEFAULT '{}',
    "cordoned" BOOLEAN NOT NULL DEFAULT false,
    "version" INTEGER NOT NULL DEFAULT 1,
    "joined_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "host_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "host_agent" (
    "host_id" UUID NOT NULL,
    "isolation" TEXT NOT NULL,
    "public_key" TEXT NOT NULL,
    "facts" JSONB NOT NULL,
    "state" TEXT NOT NULL DEFAULT 'ready',
    "last_seen_at" TIMESTAMPTZ(3),
    "boot_id" TEXT,
    "doc_version" BIGINT NOT NULL DEFAULT 0,
    "compacted_version" BIGINT NOT NULL DEFAULT 0,
    "reached_version" BIGINT NOT NULL DEFAULT 0,
    "unknown_instances" JSONB NOT NULL DEFAULT '[]',
    "foreign_cluster_id" UUID,
    "journal" TEXT NOT NULL DEFAULT '',
    "folded_seq" BIGINT NOT NULL DEFAULT 0,

    CONSTRAINT "host_agent_pkey" PRIMARY KEY ("host_id","isolation")
);

-- CreateTable
CREATE TABLE "outbox" (
    "seq" BIGSERIAL NOT NULL,
    "host_id" UUID NOT NULL,
    "isolation" TEXT NOT NULL,
    "version" BIGINT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "outbox_pkey" PRIMARY KEY ("seq")
);

-- CreateTable
CREATE TABLE "event_inbox" (
    "seq" BIGSERIAL NOT NULL,
    "type" TEXT NOT NULL,
    "project" TEXT,
    "workload_id" UUID,
    "instance_id" UUID,
    "host_id" UUID,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "data" JSONB NOT NULL DEFAULT '{}',
    "trace_id" TEXT,

    CONSTRAINT "event_inbox_pkey" PRIMARY KEY ("seq")
);

-- CreateTable
CREATE TABLE "event" (
    "id" BIGSERIAL NOT NULL,
    "type" TEXT NOT NULL,
    "project" TEXT,
    "workload_id" UUID,
    "instance_id" UUID,
    "host_id" UUID,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "data" JSONB NOT NULL DEFAULT '{}',
    "trace_id" TEXT,

    CONSTRAINT "event_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "operation" (
    "id" UUID NOT NULL,
    "project" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "state" TEXT NOT NULL DEFAULT 'running',
    "target_type" TEXT NOT NULL,
    "target_id" TEXT NOT NULL,
    "expect" JSONB NOT NULL DEFAULT '{}',
    "progress" TEXT,
    "error" JSONB,
    "trace_id" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "operation_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "idempotency_key" (
    "token_id" UUID NOT NULL,
    "key" TEXT NOT NULL,
    "body_hash" BYTEA NOT NULL,
    "status" INTEGER,
    "headers" JSONB,
    "response" JSONB,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "idempotency_key_pkey" PRIMARY KEY ("token_id","key")
);

-- CreateTable
CREATE TABLE "image" (
    "project" TEXT NOT NULL,
    "digest" TEXT NOT NULL,
    "size_bytes" BIGINT NOT NULL,
    "layers" JSONB NOT NULL,
    "config" JSONB NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "image_pkey" PRIMARY KEY ("project","digest")
);

-- CreateTable
CREATE TABLE "image_name" (
    "project" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "digest" TEXT NOT NULL,

    CONSTRAINT "image_name_pkey" PRIMARY KEY ("project","name")
);

-- CreateTable
CREATE TABLE "audit" (
    "id" BIGSERIAL NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "token_id" UUID,
    "verb" TEXT NOT NULL,
    "project" TEXT,
    "target" TEXT NOT NULL,
    "data" JSONB NOT NULL DEFAULT '{}',

    CONSTRAINT "audit_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "token_hash_key" ON "token"("hash");

-- CreateIndex
CREATE UNIQUE INDEX "workload_project_name_key" ON "workload"("project", "name");

-- CreateIndex
CREATE INDEX "instance_state_idx" ON "instance"("state");

-- CreateIndex
CREATE INDEX "instance_host_id_idx" ON "instance"("host_id");

-- CreateIndex
CREATE UNIQUE INDEX "instance_workload_id_slot_key" ON "instance"("workload_id", "slot");

-- CreateIndex
CREATE INDEX "assignment_host_id_isolation_doc_version_idx" ON "assignment"("host_id", "isolation", "doc_version");

-- CreateIndex
CREATE UNIQUE INDEX "host_name_key" ON "host"("name");

-- CreateIndex
CREATE INDEX "operation_state_idx" ON "operation"("state");

-- CreateIndex
CREATE INDEX "operation_target_id_idx" ON "operation"("target_id");

-- CreateIndex
CREATE INDEX "idempotency_key_created_at_idx" ON "idempotency_key"("created_at");

-- AddForeignKey
ALTER TABLE "workload" ADD CONSTRAINT "workload_project_fkey" FOREIGN KEY ("project") REFERENCES "project"("name") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "instance" ADD CONSTRAINT "instance_project_fkey" FOREIGN KEY ("project") REFERENCES "project"("name") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "instance" ADD CONSTRAINT "instance_workload_id_fkey" FOREIGN KEY ("workload_id") REFERENCES "workload"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "instance" ADD CONSTRAINT "instance_host_id_fkey" FOREIGN KEY ("host_id") REFERENCES "host"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "host_agent" ADD CONSTRAINT "host_agent_host_id_fkey" FOREIGN KEY ("host_id") REFERENCES "host"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "operation" ADD CONSTRAINT "operation_project_fkey" FOREIGN KEY ("project") REFERENCES "project"("name") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "image" ADD CONSTRAINT "image_project_fkey" FOREIGN KEY ("project") REFERENCES "project"("name") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "image_name" ADD CONSTRAINT "image_name_project_fkey" FOREIGN KEY ("project") REFERENCES "project"("name") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "image_name" ADD CONSTRAINT "image_name_project_digest_fkey" FOREIGN KEY ("project", "digest") REFERENCES "image"("project", "digest") ON DELETE CASCADE ON UPDATE CASCADE;

-- What Prisma's schema language cannot express follows.

-- Exactly one assignment of an instance is in force, whoever commits.
CREATE UNIQUE INDEX "assignment_live_key" ON "assignment"("instance_id") WHERE NOT "tombstone";

-- What a host has given away, and what compaction may take out of the documents.
CREATE INDEX "assignment_held_idx" ON "assignment"("host_id") WHERE "gone_at" IS NULL;
CREATE INDEX "assignment_gone_idx" ON "assignment"("gone_at") WHERE "gone_at" IS NOT NULL;

-- The placement loop's queue.
CREATE INDEX "instance_pending_idx" ON "instance"("id") WHERE "state" = 'pending';

-- Rows that are rewritten often keep free space, so that their new versions stay on the page (HOT).
ALTER TABLE "host_agent" SET (fillfactor = 60);
ALTER TABLE "host" SET (fillfactor = 60);
ALTER TABLE "instance" SET (fillfactor = 70);
ALTER TABLE "lease" SET (fillfactor = 50);

-- The two queues are almost always empty: vacuum them by what was deleted, not by their size.
ALTER TABLE "outbox" SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE "event_inbox" SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

ALTER TABLE "cluster" ADD CONSTRAINT "cluster_one_row" CHECK ("singleton"), ADD CONSTRAINT "cluster_era" CHECK ("era" >= 1);
ALTER TABLE "lease" ADD CONSTRAINT "lease_term" CHECK ("term" >= 1);
ALTER TABLE "instance"
  ADD CONSTRAINT "instance_state" CHECK ("state" IN ('pending', 'assigned', 'starting', 'running', 'paused', 'stopping', 'backoff', 'stopped', 'failed', 'lost')),
  ADD CONSTRAINT "instance_desired" CHECK ("desired" IN ('running', 'paused', 'stopped')),
  ADD CONSTRAINT "instance_isolation" CHECK ("isolation" IN ('container', 'vm')),
  ADD CONSTRAINT "instance_placed" CHECK ("state" IN ('pending', 'stopped') OR ("host_id" IS NOT NULL AND "era" IS NOT NULL AND "epoch_n" IS NOT NULL));
ALTER TABLE "assignment"
  ADD CONSTRAINT "assignment_epoch" CHECK ("era" >= 1 AND "n" >= 1),
  ADD CONSTRAINT "assignment_held" CHECK ("cpu_millis" >= 0 AND "memory_bytes" >= 0),
  ADD CONSTRAINT "assignment_gone" CHECK ("gone_at" IS NULL OR "tombstone");
ALTER TABLE "host_agent"
  ADD CONSTRAINT "host_agent_state" CHECK ("state" IN ('ready', 'suspect', 'unknown')),
  ADD CONSTRAINT "host_agent_isolation" CHECK ("isolation" IN ('container', 'vm')),
  ADD CONSTRAINT "host_agent_compacted" CHECK ("compacted_version" <= "doc_version");
ALTER TABLE "operation" ADD CONSTRAINT "operation_state" CHECK ("state" IN ('running', 'succeeded', 'failed'));

-- The project of requests that name none.
INSERT INTO "project" ("name") VALUES ('default');
