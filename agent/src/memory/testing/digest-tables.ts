/** Digest tables of tests: all in memory, or hardly anything. */
import { DigestTable } from "../digest-table.ts";
import { SpillFile } from "../spill-file.ts";

const ONE_AT_A_TIME = { kept: 0, cached: 1 };

/** Of as much as any test has of memory. */
export function tableInMemory(): DigestTable {
  return new DigestTable(
    new SpillFile("/nowhere", (error) => {
      throw error;
    }),
  );
}

/** Of each region that is not the last one, all is in the file. */
export function tableInFile(file: SpillFile): DigestTable {
  return new DigestTable(file, { digests: ONE_AT_A_TIME, toldIn: ONE_AT_A_TIME });
}
