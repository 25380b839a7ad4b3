/** CRIU's stats-dump image. */

export interface DumpStats {
  readonly freezingUs: number;
  readonly frozenUs: number;
  readonly memdumpUs: number;
  readonly memwriteUs: number;
  readonly pagesScanned: number;
  readonly pagesSkippedParent: number;
  readonly pagesWritten: number;
  readonly pagesLazy: number;
}

/** Throws DrayError CORRUPT_STREAM if it is none. */
export declare function parseDumpStats(image: Uint8Array): DumpStats;
