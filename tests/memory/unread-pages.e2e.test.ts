/** Shared memory that cannot be read from the images: CRIU goes on without it (criu/shmem.c), and the copy must not. */
import { beforeAll, expect, test } from "vitest";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { FaultPoints } from "../faults/fault-points.ts";
import { IMAGE_DIRECTORIES } from "../harness/image-room.ts";
import { importProver } from "../harness/memory-prover.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "../e2e/stage.ts";

/** Behind the magics and the length of its head: field 1, a varint. */
const PAGES_ID_AT = 12;
const POINT = "destination.before-pages-complete";
const stage = new Stage("unread-pages", []);

beforeAll(async () => {
  await importProver(stage.lab, [stage.source, stage.destination]);
});

async function pagesIdOf(node: string, pagemap: string): Promise<number> {
  const head = await stage.lab.exec(node, ["od", "-An", "-v", "-tu1", `-j${PAGES_ID_AT}`, "-N6", pagemap]);
  const [field, ...bytes] = head.trim().split(/\s+/).map(Number);
  expect(field).toBe(0x08);
  const last = bytes.findIndex((byte) => byte < 0x80);
  return bytes.slice(0, last + 1).reduceRight((number, byte) => number * 128 + (byte & 0x7f), 0);
}

test("a restore that has gone on without pages of shared memory is none", async () => {
  const { lab, source, destination } = stage;
  const { container, prover } = await stage.startProver("unread", "--mb", "32");
  const faults = await FaultPoints.open(lab);
  try {
    await faults.set(destination, [{ point: POINT, action: "hang" }]);
    const accepted = await lab.dray<{ id: string }>([
      ...["migrate", container.name, "--to", destination, "--mode", "stop-copy", "--detach"],
    ]);
    const { id } = accepted.document;
    await faults.firing(POINT, 60_000);
    const directory = `${IMAGE_DIRECTORIES[0]}/${id}`;
    const pagemaps = (await lab.shell(destination, 'ls "$1"/pagemap-shmem-*.img', directory)).split("\n");
    for (const pagemap of pagemaps.filter(Boolean)) {
      const pages = `${directory}/pages-${await pagesIdOf(destination, pagemap)}.img`;
      await lab.exec(destination, ["truncate", "--no-create", "--size=0", pages]);
    }
    await faults.clear();
    const { document } = await lab.dray<MigrationDocument>(["migration", "watch", id]);
    expect(document).toMatchObject({
      outcome: "rolled_back",
      error: { reason: "CRIU_RESTORE_FAILED", node: destination },
    });
    expect(document.error?.message).toMatch(/^pages of memory could not be read from the images: .*Can't read/);
  } finally {
    await faults.clear();
    faults.close();
  }
  await prover.check();
  await assertOneCopy(lab, container, source);
  prover.close();
  await stage.nothingElseLeft();
});
