-- AlterTable
ALTER TABLE "operation" ADD COLUMN     "layers" JSONB;

-- AlterTable
ALTER TABLE "image" ADD COLUMN     "source" TEXT;

-- CreateTable
CREATE TABLE "image_pull" (
    "operation_id" UUID NOT NULL,
    "reference" TEXT NOT NULL,
    "names" TEXT[],
    "token_id" UUID NOT NULL,
    "traceparent" TEXT,
    "holder" TEXT,
    "beat_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "image_pull_pkey" PRIMARY KEY ("operation_id")
);

-- AddForeignKey
ALTER TABLE "image_pull" ADD CONSTRAINT "image_pull_operation_id_fkey" FOREIGN KEY ("operation_id") REFERENCES "operation"("id") ON DELETE CASCADE ON UPDATE CASCADE;
