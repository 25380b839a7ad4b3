/** Columns as `docker ps` aligns them: a header, three blanks between columns, nothing around. */

export type Row = readonly string[];

const GAP = "   ";

/** Lines of the table, without trailing blanks; the header alone when there are no rows. */
export function layOutTable(header: Row, rows: readonly Row[]): string[] {
  const all = [header, ...rows].map((row) => row.map(printable));
  const widths = header.map((_, column) => Math.max(...all.map((row) => displayWidth(row[column] ?? ""))));
  return all.map((row) =>
    row
      .map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - displayWidth(cell)))
      .join(GAP)
      .trimEnd(),
  );
}

/** Pairs below each other: `name:  value`. */
export function layOutPairs(pairs: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(0, ...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${`${name}:`.padEnd(width + 2)} ${printable(value)}`.trimEnd());
}

/** What others wrote must not move the cursor. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, "\uFFFD");
}

function displayWidth(text: string): number {
  return [...text].length;
}
