-- What runs an instance that is a virtual machine, by its agent's reports.
ALTER TABLE "instance" ADD COLUMN "machine" JSONB;
