-- CreateTable
CREATE TABLE "share" (
    "id" UUID NOT NULL,
    "project" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "spec" JSONB NOT NULL,
    "host_id" UUID,
    "deleting" BOOLEAN NOT NULL DEFAULT false,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "share_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "share_use" (
    "instance_id" UUID NOT NULL,
    "share_id" UUID NOT NULL,
    "path" TEXT NOT NULL,
    "read_only" BOOLEAN NOT NULL,
    "state" TEXT NOT NULL DEFAULT 'declared',
    "detail" TEXT,

    CONSTRAINT "share_use_pkey" PRIMARY KEY ("instance_id","share_id")
);

-- CreateIndex
CREATE UNIQUE INDEX "share_project_name_key" ON "share"("project", "name");

-- CreateIndex
CREATE INDEX "share_use_share_id_idx" ON "share_use"("share_id");

-- AddForeignKey
ALTER TABLE "share" ADD CONSTRAINT "share_project_fkey" FOREIGN KEY ("project") REFERENCES "project"("name") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "share" ADD CONSTRAINT "share_host_id_fkey" FOREIGN KEY ("host_id") REFERENCES "host"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "share_use" ADD CONSTRAINT "share_use_instance_id_fkey" FOREIGN KEY ("instance_id") REFERENCES "instance"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "share_use" ADD CONSTRAINT "share_use_share_id_fkey" FOREIGN KEY ("share_id") REFERENCES "share"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- What Prisma's schema language cannot express follows.

ALTER TABLE "share_use" ADD CONSTRAINT "share_use_state" CHECK ("state" IN ('declared', 'attaching', 'attached', 'detaching'));

-- What waits for a host's answer.
CREATE INDEX "share_use_open_idx" ON "share_use"("instance_id") WHERE "state" IN ('attaching', 'detaching');
CREATE INDEX "share_deleting_idx" ON "share"("id") WHERE "deleting";
