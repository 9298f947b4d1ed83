-- Namespaces are at no path.
ALTER TABLE "share_use" ALTER COLUMN "path" DROP NOT NULL;
