/** Shared memory that cannot be read from the images: CRIU goes on without it (criu/shmem.c), and the copy must not. */
import { dirname, join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { pagesName, parsePagemap } from "../../agent/src/memory-image/pagemap-image.ts";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { FaultPoints } from "../faults/fault-points.ts";
import { IMAGE_DIRECTORIES } from "../harness/image-room.ts";
import { importProver } from "../harness/memory-prover.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "../e2e/stage.ts";

const POINT = "destination.before-pages-complete";
const stage = new Stage("unread-pages", []);

beforeAll(async () => {
  await importProver(stage.lab, [stage.source, stage.destination]);
});

async function pagesOf(node: string, pagemap: string): Promise<string> {
  const content = Buffer.from(await stage.lab.exec(node, ["base64", pagemap]), "base64");
  return join(dirname(pagemap), pagesName(parsePagemap(content).pagesId));
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
      await lab.exec(destination, ["truncate", "--no-create", "--size=0", await pagesOf(destination, pagemap)]);
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
