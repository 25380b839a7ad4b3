/** A source that has no room for what CRIU would write of memory: shared memory, which no dump leaves where it is. */
import { beforeAll, expect, test } from "vitest";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { withImageRoom } from "../harness/image-room.ts";
import { importProver } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "../e2e/stage.ts";

/** A quarter of it is shared. */
const MEGABYTES = 96;
/** Enough for all images but those of memory, for which the agent wants 64 MiB; not with 24 MiB more. */
const SIZE = "72m";
const stage = new Stage("source-without-room", []);

beforeAll(async () => {
  await importProver(stage.lab, [stage.source, stage.destination]);
});

test("CRIU brings all memory to the page server; where that cannot be, nothing is touched, and it is said", async () => {
  const { lab, source, destination } = stage;
  const { container, prover } = await stage.startProver("no-room", "--mb", String(MEGABYTES), "--dirty", "500");
  await withImageRoom(lab, source, SIZE, async () => {
    const refused = await lab.dray<MigrationDocument>([
      ...["migrate", container.name, "--to", destination, "--mode", "post-copy"],
    ]);
    expect(refused.document).toMatchObject({ outcome: "rolled_back", error: { reason: "NO_SPACE", node: source } });
    expect(refused.document.error?.message).toMatch(/^\d+ MiB for the images do not fit below/);
    expect(refused.document.phases.map(({ name }) => name)).not.toContain("commit");
    await prover.check();
    await assertOneCopy(lab, container, source);

    const { id } = await migrate(lab, container.name, destination, "--mode", "stop-copy");
    await prover.check();
    await assertOneCopy(lab, container, destination);
    const log = (await lab.exec(source, ["journalctl", "--unit=drayage-agent", "--output=cat"])).split("\n");
    const brought = log.find((line) => line.includes(id) && line.includes("CRIU has brought the memory"));
    expect(JSON.parse(brought ?? "{}").contentBytes).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
  });
  prover.close();
  await stage.nothingElseLeft();
});
