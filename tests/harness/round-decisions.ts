/** What was decided after each round of pre-copy, with the numbers by which it was. */

export interface RoundDecision {
  readonly verdict: string;
  readonly remainingMegabytes: number;
  /** Megabytes. */
  readonly changedPerSecond: number;
  readonly sentPerSecond: number;
  readonly expectedMs: number;
  /** Null if nobody has said. */
  readonly wantedMs: number | null;
}

const TEXT = new RegExp(
  "^(?<verdict>another round, since|switch, since|rounds no longer pay:|there were too many rounds:) " +
    "an estimated (?<remaining>\\d+\\.\\d+) MB remain, changed at (?<changed>\\d+\\.\\d+) MB/s, " +
    "sent at (?<sent>\\d+\\.\\d+) MB/s: (?<expected>\\d+) ms to be expected " +
    "\\((?:(?<wanted>\\d+) ms wanted|no limit given)\\)$",
);

/** Throws if it is in other words, or lacks a number. */
export function roundDecision(text: string): RoundDecision {
  const found = TEXT.exec(text)?.groups;
  if (found === undefined) throw new Error(`no decision with its numbers: ${text}`);
  const { verdict = "", remaining, changed, sent, expected, wanted } = found;
  return {
    verdict,
    remainingMegabytes: Number(remaining),
    changedPerSecond: Number(changed),
    sentPerSecond: Number(sent),
    expectedMs: Number(expected),
    wantedMs: wanted === undefined ? null : Number(wanted),
  };
}

/** Of all that was decided, what was after each round, from the first on. */
export function roundDecisions(decisions: readonly string[]): RoundDecision[] {
  return decisions
    .filter((decision) => decision.startsWith("round "))
    .map((decision, index) => {
      const heading = `round ${index + 1}: `;
      if (!decision.startsWith(heading)) throw new Error(`this is not about round ${index + 1}: ${decision}`);
      return roundDecision(decision.slice(heading.length));
    });
}
