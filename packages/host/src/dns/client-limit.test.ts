import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ClientLimit } from "./client-limit.ts";

test("a client has at most so many at once, whatever it gives back and however often, and others do not notice", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.record({ client: fc.constantFrom("a", "b"), give: fc.option(fc.nat(8)) }), { maxLength: 60 }),
      (max, steps) => {
        const limit = new ClientLimit(max);
        const taken: { client: string; held: Disposable; open: boolean }[] = [];
        for (const { client, give } of steps) {
          const given = give === null ? undefined : taken[give];
          if (given !== undefined) {
            given.held[Symbol.dispose]();
            given.open = false;
            continue;
          }
          const open = taken.filter((each) => each.open && each.client === client).length;
          const held = limit.take(client);
          expect(held === null).toBe(open === max);
          if (held !== null) taken.push({ client, held, open: true });
        }
      },
    ),
  );
});
