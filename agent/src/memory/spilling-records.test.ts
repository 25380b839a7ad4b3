import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SpillFile } from "./spill-file.ts";
import { SpillingRecords } from "./spilling-records.ts";

const RECORD_BYTES = 40;
const RECORDS = 200;

let directory = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "drayage-records-"));
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

test("each is what it was last, zeros at first, in whatever order they are used, and whenever the disk gives out", () => {
  fc.assert(
    fc.property(
      fc.record({ kept: fc.nat(100), cached: fc.integer({ min: 1, max: 20 }) }),
      fc.array(fc.record({ number: fc.nat(RECORDS - 1), value: fc.option(fc.integer({ min: 1, max: 255 })) }), {
        minLength: 50,
        maxLength: 400,
      }),
      fc.option(fc.nat(100)),
      (limits, uses, writesUntilFull) => {
        let writes = 0;
        const file = new (class extends SpillFile {
          override write(bytes: Buffer, position: number): boolean {
            if (writes++ !== writesUntilFull) return super.write(bytes, position);
            // The first half of it had room.
            super.write(bytes.subarray(0, RECORD_BYTES / 2), position);
            return false;
          }
        })(directory, (error) => {
          throw error;
        });
        const records = new SpillingRecords(RECORD_BYTES, limits, file);
        const values = new Map<number, number>();
        try {
          for (const { number, value } of uses) {
            const record = records.at(number);
            expect([...new Set(record.bytes)]).toEqual([values.get(number) ?? 0]);
            if (value === null) continue;
            values.set(number, value);
            record.bytes.fill(value);
            record.isChanged = true;
          }
        } finally {
          file.close();
        }
      },
    ),
    { numRuns: 100 },
  );
});

test("what the disk does not give back is zeros, and what the others are stays", () => {
  const file = new (class extends SpillFile {
    override read(): boolean {
      return false;
    }
  })(directory, () => undefined);
  const records = new SpillingRecords(RECORD_BYTES, { kept: 1, cached: 1 }, file);
  for (const number of [0, 1, 2]) {
    const record = records.at(number);
    record.bytes.fill(number + 1);
    record.isChanged = true;
  }
  expect([0, 2, 1].map((number) => records.at(number).bytes[0])).toEqual([1, 3, 0]);
  file.close();
});
