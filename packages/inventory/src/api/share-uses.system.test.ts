import { instanceSharesMax, withShareDefaults } from "@bulkhead/contracts";
import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { migrate } from "../index.ts";
import { TestFleet } from "../testing/fixture.ts";

let postgres: TestPostgres;
let fleet: TestFleet;
beforeAll(async () => {
  postgres = await startPostgres({ migrate });
  fleet = await TestFleet.make(postgres);
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

test("an instance is given only so many shares, and those that it has can still be moved", async () => {
  await fleet.addWorkload("web");
  const attach = (at: number, path: string) =>
    fleet.inventory.api.write((tx) =>
      tx.attachShare(
        fleet.change,
        { instance: { project: "default", idOrName: "web-0" }, share: `share-${at}` },
        { path },
      ),
    );
  for (let at = 0; at <= instanceSharesMax; at += 1) {
    const spec = withShareDefaults({ kind: "directory" });
    await fleet.inventory.api.write((tx) => tx.createShare(fleet.change, { name: `share-${at}`, spec }));
    if (at < instanceSharesMax) await attach(at, `/s/${at}`);
  }
  await expect(attach(instanceSharesMax, "/s/more")).rejects.toMatchObject({ code: "STATE_CONFLICT" });
  expect(await attach(0, "/s/moved")).toMatchObject({ share: "share-0" });
});
