-- AlterTable
ALTER TABLE "snapshot" ADD COLUMN     "copy_bytes" BIGINT;
