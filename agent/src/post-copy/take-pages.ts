/** Takes pages as they come for a copy that runs, with their content or from images that are here, and has them placed. */
import { setImmediate as othersTurn } from "node:timers/promises";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { MemoryImage } from "../memory-image/memory-image-reader.ts";
import { PAGE_BYTES, PARENT, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamDecoder } from "../memory-stream/decoder.ts";
import { PageRun, type Place } from "./page-run.ts";

/** From images in memory nothing waits: so long at a time, and then what has come meanwhile has its turn, faults above all. */
const TURN_MS = 2;

export interface PagesTaker {
  readonly place: Place;
  /** What is here of the memory of a process, by its pid in the container. */
  readonly imageOf: (task: number) => Promise<MemoryImage>;
  /** So many pages come with their content. */
  readonly onReceived: (pages: number) => void;
}

/**
 * A memory stream; each chunk is used before the next is asked for. What has come whole is placed, whatever fails then.
 * Throws CORRUPT_STREAM, and what the others throw.
 */
export async function takePages(content: AsyncIterable<Buffer>, taker: PagesTaker): Promise<void> {
  const decoder = new MemoryStreamDecoder();
  const run = new PageRun(taker.place);
  let task = 0;
  let turnAt = performance.now();
  for await (const chunk of content) {
    for (const event of decoder.decode(chunk)) {
      if (event.kind === "open") {
        if (event.image.kind !== "task") throw new DrayError("CORRUPT_STREAM", "pages that are of no process");
        task = event.image.id;
      } else if (event.kind === "range" && (event.flags & PARENT) !== 0) {
        await takeFromImage(run, await taker.imageOf(task), task, event);
      } else if (event.kind === "range" && (event.flags & PRESENT) !== 0) {
        taker.onReceived(event.pages);
        await run.begin(task, event.vaddr);
      } else if (event.kind === "repeat" || event.kind === "delta") {
        throw new DrayError("CORRUPT_STREAM", "a page that was asked for comes without its content");
      } else if (event.kind === "content") await addContent(run, event.bytes);
    }
    // Somebody may wait for them, and the next chunk may be long in coming.
    await run.settle();
    if (performance.now() - turnAt > TURN_MS) {
      await othersTurn();
      turnAt = performance.now();
    }
  }
  decoder.finish();
}

async function addContent(run: PageRun, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const taken = bytes.copy(await run.space(bytes.length - done), 0, done);
    run.add(taken);
    done += taken;
  }
}

async function takeFromImage(
  run: PageRun,
  image: MemoryImage,
  task: number,
  { vaddr, pages }: { readonly vaddr: number; readonly pages: number },
): Promise<void> {
  if (!image.segments.hasContent({ vaddr, pages })) {
    throw new DrayError("CORRUPT_STREAM", "the images do not have all the pages that they should");
  }
  await run.begin(task, vaddr);
  // What has come before waits for no disk.
  if (!image.isInMemory) await run.settle();
  try {
    for (let done = 0; done < pages * PAGE_BYTES; ) {
      const space = await run.space(pages * PAGE_BYTES - done);
      await image.read(vaddr + done, space);
      run.add(space.length);
      done += space.length;
    }
  } catch (error) {
    await run.settle();
    throw error;
  }
}
