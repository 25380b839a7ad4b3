/**
 * Reads the diagram in a comment: `a ─► b` is a transition, and so is a line
 * that goes down from a state, `│`, and turns, `└` or `┴`, into an arrow.
 */
import type { Transitions } from "../transitions.ts";

const STATE = /[a-z]+/g;
const ARROW = /([a-z]+) ─+► (?=([a-z]+))/g;
const TURNS = /[└┴]/g;

/** The transitions drawn in a source text, as "from ─► to", sorted, each once. */
export function drawnTransitions(source: string): string[] {
  const comment = source.slice(source.indexOf("/**"), source.indexOf("*/"));
  const lines = comment.split("\n");
  const drawn = new Set<string>();
  for (const [at, line] of lines.entries()) {
    for (const [, from, to] of line.matchAll(ARROW)) drawn.add(`${from} ─► ${to}`);
    const [, target] = /[┴└─]+► ([a-z]+)/.exec(line) ?? [];
    for (const { index } of line.matchAll(TURNS)) drawn.add(`${stateAbove(lines, at, index)} ─► ${target}`);
  }
  return [...drawn].sort();
}

/** The transitions of a table, written in the same way. */
export function tabledTransitions<State extends string>(table: Transitions<State>): string[] {
  const states = Object.keys(table) as State[];
  return states.flatMap((from) => table[from].map((to) => `${from} ─► ${to}`)).sort();
}

function stateAbove(lines: readonly string[], at: number, column: number): string {
  let above = at - 1;
  while (lines[above]?.[column] === "│") above--;
  for (const { 0: state, index } of lines[above]?.matchAll(STATE) ?? []) {
    if (index <= column && column < index + state.length) return state;
  }
  throw new Error(`no state is drawn above line ${at + 1}, column ${column + 1}`);
}
