import { openApiInventory, type ApiInventory } from "./api/index.ts";
import { controlStore, type ControlStore } from "./control/index.ts";
import { Database, type DatabaseOptions } from "./database.ts";

/** The fleet's truth in Postgres, as the HTTP API and as the control loop use it. */
export interface Inventory extends AsyncDisposable {
  readonly database: Database;
  readonly api: ApiInventory;
  readonly control: ControlStore;
}

/** Opens a migrated database; connects with the first call, and heals after every loss. */
export const openInventory = (options: DatabaseOptions): Inventory => {
  const database = new Database(options);
  return {
    database,
    api: openApiInventory(database),
    control: controlStore(database),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
};
