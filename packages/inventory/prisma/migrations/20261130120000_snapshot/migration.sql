-- CreateTable
CREATE TABLE "snapshot" (
    "id" UUID NOT NULL,
    "project" TEXT NOT NULL,
    "workload_name" TEXT NOT NULL,
    "instance_id" UUID NOT NULL,
    "instance_name" TEXT NOT NULL,
    "image_digest" TEXT NOT NULL,
    "spec" JSONB NOT NULL,
    "host_id" UUID NOT NULL,
    "engine" TEXT,
    "size_bytes" BIGINT,
    "state" TEXT NOT NULL DEFAULT 'creating',
    "operation_id" UUID NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "snapshot_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "snapshot_state_idx" ON "snapshot"("state");

-- AddForeignKey
ALTER TABLE "snapshot" ADD CONSTRAINT "snapshot_project_fkey" FOREIGN KEY ("project") REFERENCES "project"("name") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "snapshot" ADD CONSTRAINT "snapshot_host_id_fkey" FOREIGN KEY ("host_id") REFERENCES "host"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- Who was restored from which: a snapshot stays while there are any.
CREATE INDEX "workload_restored_from_idx" ON "workload" (("spec" #>> '{vm,restoredFrom,snapshotId}'))
  WHERE ("spec" #>> '{vm,restoredFrom,snapshotId}') IS NOT NULL;
