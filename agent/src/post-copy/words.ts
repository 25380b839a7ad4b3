/** What the destination says to the source while the source sends it pages: words on a file of the page stream. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { z } from "zod";
import { PAGE_BYTES } from "../memory-image/page-range.ts";

/** More of them come in several words. */
export const TRIPLES_AT_A_TIME = 8000;

/** Beyond all that a process can have. */
const SPACE_END = 2 ** 56;
const MOST_PAGES = 2 ** 28;

const Task = z
  .number()
  .int()
  .min(1)
  .max(2 ** 22);
const Address = z.number().int().nonnegative().max(SPACE_END).multipleOf(PAGE_BYTES);
const Pages = z.number().int().min(1).max(MOST_PAGES);
/** Task, address, pages. */
const Triple = z.tuple([Task, Address, Pages]);
const Triples = z
  .array(Triple)
  .max(TRIPLES_AT_A_TIME)
  .refine((all) => all.reduce((sum, [, , pages]) => sum + pages, 0) <= MOST_PAGES);

const Word = z.union([
  /** These are missing and are to be sent, in whatever order; more may follow. */
  z.strictObject({ missing: Triples }),
  /** A thread waits for this page: task and address. */
  z.strictObject({ fault: z.tuple([Task, Address]) }),
  /** Nobody needs these any more. */
  z.strictObject({ dropped: Triples }),
  /** So many pages have come to their places: as many more may be sent ahead. */
  z.strictObject({ taken: Pages }),
  /** Nothing is missing: the source may stop. */
  z.strictObject({ complete: z.literal(true) }),
]);
export type Word = z.infer<typeof Word>;
export type PageTriple = z.infer<typeof Triple>;

/** Throws CORRUPT_STREAM if it is none. */
export function parseWord(value: unknown): Word {
  const parsed = Word.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new DrayError("CORRUPT_STREAM", "the destination says something about pages that is not understood", {
    cause: parsed.error,
  });
}
