-- CreateTable
CREATE TABLE "kernel" (
    "project" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "digest" TEXT NOT NULL,
    "release" TEXT NOT NULL,
    "architecture" TEXT NOT NULL,
    "is_default" BOOLEAN NOT NULL DEFAULT false,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "kernel_pkey" PRIMARY KEY ("project","name")
);

-- AddForeignKey
ALTER TABLE "kernel" ADD CONSTRAINT "kernel_project_fkey" FOREIGN KEY ("project") REFERENCES "project"("name") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "kernel" ADD CONSTRAINT "kernel_project_digest_fkey" FOREIGN KEY ("project", "digest") REFERENCES "image"("project", "digest") ON DELETE RESTRICT ON UPDATE CASCADE;

-- At most one default in a project.
CREATE UNIQUE INDEX "kernel_default_key" ON "kernel" ("project") WHERE "is_default";
