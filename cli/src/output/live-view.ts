/**
 * Progress on stderr. On a terminal the block of phase lines is redrawn in
 * place; elsewhere a line is written whenever a phase begins or ends.
 */
import type { Migration } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import type { Terminal } from "../terminal.ts";
import { type PhaseLine, phaseLines, titleLine } from "./migration-view.ts";

export interface LiveView {
  update(migration: Migration): void;
  /** A line of its own, above what is redrawn. */
  note(line: string): void;
}

export function liveView(terminal: Terminal): LiveView {
  return terminal.canRedraw ? new RedrawnView(terminal) : new LoggedView(terminal);
}

/** For those who asked for quiet. */
export const SILENT_VIEW: LiveView = { update: () => {}, note: () => {} };

const MARKS = { done: "✓", running: "›", failed: "✗", cancelled: "✗", waiting: " " } as const;
const NAME_WIDTH = 10;

class RedrawnView implements LiveView {
  readonly #terminal: Terminal;
  #drawn = 0;
  #lines: readonly string[] = [];

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  update(migration: Migration): void {
    const lines = [titleLine(migration), ...phaseLines(migration).map((line) => this.#paint(line))];
    this.#draw(lines);
  }

  note(line: string): void {
    this.#erase();
    this.#terminal.note(line);
    this.#draw(this.#lines);
  }

  #draw(lines: readonly string[]): void {
    this.#erase();
    this.#terminal.raw(lines.map((line) => `${line}\n`).join(""));
    this.#drawn = lines.length;
    this.#lines = lines;
  }

  #erase(): void {
    if (this.#drawn > 0) this.#terminal.raw(`\u001B[${this.#drawn}A\u001B[J`);
    this.#drawn = 0;
  }

  #paint(line: PhaseLine): string {
    // A line that wraps would break the count of lines to erase.
    const text = `  ${MARKS[line.state]} ${line.name.padEnd(NAME_WIDTH)} ${line.detail}`.slice(
      0,
      this.#terminal.columns - 1,
    );
    const style = { done: "green", running: "bold", failed: "red", cancelled: "bold", waiting: "dim" } as const;
    return this.#terminal.paint(style[line.state], text.trimEnd());
  }
}

class LoggedView implements LiveView {
  readonly #terminal: Terminal;
  readonly #written = new Set<string>();
  /** Phases whose end was waited for once. */
  readonly #awaited = new Set<string>();

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  update(migration: Migration): void {
    this.#once(titleLine(migration));
    for (const line of phaseLines(migration)) {
      // The next phase may begin before it is known how long the last one took, which the next update should tell; after
      // a change of leader nobody may know.
      if (line.state === "waiting" && this.#written.has(`${line.name}: begins`) && !this.#awaited.has(line.name)) {
        this.#awaited.add(line.name);
        return;
      }
      if (line.state === "running") this.#once(`${line.name}: begins`);
      // It takes no time unless it waits, and says for what.
      if (line.state === "running" && line.name === "abort" && line.detail !== "") this.#once(`abort: ${line.detail}`);
      if (line.state === "done") this.#once(`${line.name}: done in ${line.detail}`);
      if (line.state === "failed" || line.state === "cancelled") this.#once(`${line.name}: ${line.state}`);
    }
  }

  note(line: string): void {
    this.#terminal.note(line);
  }

  #once(line: string): void {
    if (this.#written.has(line)) return;
    this.#written.add(line);
    this.#terminal.note(line);
  }
}
