-- AlterTable
ALTER TABLE "snapshot" ADD COLUMN     "problem" JSONB,
ADD COLUMN     "verify_operation_id" UUID;
