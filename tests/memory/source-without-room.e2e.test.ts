/** A source without room for memory: none of it is written there, shared memory neither, which no dump leaves where it is. */
import { beforeAll, test } from "vitest";
import { withImageRoom } from "../harness/image-room.ts";
import { importProver } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "../e2e/stage.ts";

/** A quarter of it is shared. */
const MEGABYTES = 96;
/** Enough for all images but those of memory, for which the agent wants 64 MiB; of 24 MiB more, a part would not fit. */
const SIZE = "72m";
const stage = new Stage("source-without-room", []);

beforeAll(async () => {
  await importProver(stage.lab, [stage.source, stage.destination]);
});

test.each(["stop-copy", "post-copy"])("%s: what CRIU brings needs no room there", async (mode) => {
  const { lab, source, destination } = stage;
  const { container, prover } = await stage.startProver("no-room", "--mb", String(MEGABYTES), "--dirty", "500");
  await withImageRoom(lab, source, SIZE, async () => {
    await migrate(lab, container.name, destination, "--mode", mode);
    await prover.check();
    await assertOneCopy(lab, container, destination);
  });
  prover.close();
  await stage.nothingElseLeft();
});
