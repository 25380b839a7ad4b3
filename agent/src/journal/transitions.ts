/** State machines as data: which state may follow which. */

/** For each state those that may follow it; nothing follows an ended one. */
export type Transitions<State extends string> = Readonly<Record<State, readonly State[]>>;

/** True if `to` may be journaled after `from`. A state that has not ended may be written again, with more known. */
export function mayFollow<State extends string>(table: Transitions<State>, from: State, to: State): boolean {
  return from === to ? table[from].length > 0 : table[from].includes(to);
}
