/** Varints of protobuf: seven bits a byte, the lowest first, and a byte below 0x80 at the end. Pure. */

/** Of 64 bits. */
const MOST_BYTES = 10;

/** Reads what is between two places, number by number. */
export class VarintReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  /** Where the next one begins. */
  at: number;
  /** Of the last number the lowest 14 bits, also if it was too large to be exact. */
  low = 0;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#end = end;
    this.at = at;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#end;
  }

  /** Rounded where it is too large to be exact; null if it is cut short, or longer than one of 64 bits. */
  next(): number | null {
    const bytes = this.#bytes;
    const last = Math.min(this.#end, this.at + MOST_BYTES);
    let value = 0;
    let scale = 1;
    for (let at = this.at; at < last; at++) {
      const byte = bytes[at] as number;
      value += (byte & 0x7f) * scale;
      if (scale <= 0x80) this.low = value;
      if (byte < 0x80) {
        this.at = at + 1;
        return value;
      }
      scale *= 0x80;
    }
    return null;
  }
}

/** Of a number that is whole, exact and not negative. */
export function pushVarint(bytes: number[], value: number): void {
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
}
