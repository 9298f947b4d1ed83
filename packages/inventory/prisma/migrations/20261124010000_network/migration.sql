-- CreateTable
CREATE TABLE "network" (
    "id" UUID NOT NULL,
    "project" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "ipv4_range" INET,
    "ipv6_range" INET,
    "mtu" INTEGER NOT NULL DEFAULT 1500,
    "internal" BOOLEAN NOT NULL DEFAULT false,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "network_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "network_project_name_key" ON "network"("project", "name");

-- AddForeignKey
ALTER TABLE "network" ADD CONSTRAINT "network_project_fkey" FOREIGN KEY ("project") REFERENCES "project"("name") ON DELETE RESTRICT ON UPDATE CASCADE;

-- A host has a route for each range, so no two networks of the fleet may overlap.
ALTER TABLE "network" ADD CONSTRAINT "network_ipv4_apart" EXCLUDE USING gist ("ipv4_range" inet_ops WITH &&);
ALTER TABLE "network" ADD CONSTRAINT "network_ipv6_apart" EXCLUDE USING gist ("ipv6_range" inet_ops WITH &&);
ALTER TABLE "network" ADD CONSTRAINT "network_has_range" CHECK ("ipv4_range" IS NOT NULL OR "ipv6_range" IS NOT NULL);

-- One holder for each address. A plan never asks for a taken one, and this is for when it is wrong.
CREATE UNIQUE INDEX "assignment_ipv4_key" ON "assignment" (("document" #>> '{network,networkId}'), ("document" #>> '{network,ipv4,address}'))
  WHERE "gone_at" IS NULL AND ("document" #>> '{network,ipv4,address}') IS NOT NULL;
CREATE UNIQUE INDEX "assignment_ipv6_key" ON "assignment" (("document" #>> '{network,networkId}'), ("document" #>> '{network,ipv6,address}'))
  WHERE "gone_at" IS NULL AND ("document" #>> '{network,ipv6,address}') IS NOT NULL;
