/** A benchmark's lines and goals as Markdown. Pure. */

/** What a benchmark is to reach. */
export interface Goal {
  readonly what: string;
  readonly reached: boolean;
}

/** A table, and below it what became of each goal. */
export function markdownOf(
  columns: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  goals: readonly Goal[],
): string {
  const row = (cells: readonly (string | number)[]) => `| ${cells.join(" | ")} |`;
  return [
    row(columns),
    `|${"---|".repeat(columns.length)}`,
    ...rows.map(row),
    "",
    ...goals.map(({ what, reached }) => `- ${reached ? "Reached" : "Missed"}: ${what}`),
    "",
  ].join("\n");
}
