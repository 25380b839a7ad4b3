/** What the destination says to the source while the source sends it pages: words on a file of the page stream. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { z } from "zod";

const number = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
/** Task, address, pages. */
const Triple = z.tuple([number, number, number.min(1)]);

const Word = z.union([
  /** These are missing and are to be sent, in whatever order; more may follow. */
  z.strictObject({ missing: z.array(Triple) }),
  /** A thread waits for this page: task and address. */
  z.strictObject({ fault: z.tuple([number, number]) }),
  /** Nobody needs these any more. */
  z.strictObject({ dropped: z.array(Triple) }),
  /** So many pages have come to their places: as many more may be sent ahead. */
  z.strictObject({ taken: number }),
  /** Nothing is missing: the source may stop. */
  z.strictObject({ complete: z.literal(true) }),
]);
export type Word = z.infer<typeof Word>;
export type PageTriple = z.infer<typeof Triple>;

/** More of them come in several words. */
export const TRIPLES_AT_A_TIME = 8000;

/** Throws CORRUPT_STREAM if it is none. */
export function parseWord(value: unknown): Word {
  const parsed = Word.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new DrayError("CORRUPT_STREAM", "the destination says something about pages that is not understood", {
    cause: parsed.error,
  });
}
