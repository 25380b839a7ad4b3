/** Arrays of numbers and bytes in one piece of memory each, which grows by half when it is full. */

const FIRST_LENGTH = 256;

function grown(length: number, needed: number): number {
  return Math.max(FIRST_LENGTH, needed, Math.ceil(length * 1.5));
}

/** Of 32 bits each, not negative. */
export class GrowingWords {
  #words = new Uint32Array(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  at(index: number): number {
    return this.#words[index] as number;
  }

  push(word: number): void {
    if (this.#length === this.#words.length) {
      const larger = new Uint32Array(grown(this.#length, this.#length + 1));
      larger.set(this.#words);
      this.#words = larger;
    }
    this.#words[this.#length++] = word;
  }
}

export class GrowingBytes {
  #bytes: Buffer = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** All of them, with room for more at the end. Good until more are added. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  append(bytes: Uint8Array): void {
    const start = this.#length;
    this.extend(start + bytes.length);
    this.#bytes.set(bytes, start);
  }

  /** Fills up to this length with zeros. */
  extend(length: number): void {
    if (length > this.#bytes.length) {
      const larger = Buffer.alloc(grown(this.#length, length));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#length = Math.max(this.#length, length);
  }
}
