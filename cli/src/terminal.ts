/** The two standard streams: data on stdout, everything for people on the way on stderr. */
import { styleText } from "node:util";

export interface Terminal {
  /** Prints a line of data on stdout. */
  data(line: string): void;
  /** Prints a line on stderr. */
  note(line: string): void;
  /** Writes to stderr as it is. */
  raw(text: string): void;
  /** Whether lines on stderr may be redrawn. */
  readonly canRedraw: boolean;
  /** Columns of stderr. */
  readonly columns: number;
  /** Colours a text for stderr, unless NO_COLOR or a pipe says otherwise. */
  paint(style: "red" | "green" | "yellow" | "dim" | "bold", text: string): string;
}

export function standardTerminal(env: Readonly<Record<string, string | undefined>>): Terminal {
  const isTty = process.stderr.isTTY === true && env["TERM"] !== "dumb";
  const hasColor = isTty && !env["NO_COLOR"];
  return {
    data: (line) => process.stdout.write(`${line}\n`),
    note: (line) => process.stderr.write(`${line}\n`),
    raw: (text) => process.stderr.write(text),
    canRedraw: isTty,
    get columns() {
      // 0 where the terminal does not know its width.
      return process.stderr.columns || 80;
    },
    paint: (style, text) => (hasColor ? styleText(style, text, { validateStream: false }) : text),
  };
}
