/**
 * Paths by number, a few dozen bytes each: a layer has a hundred thousand of them, and an agent shall stay small.
 *
 * Every path is its parent's number and its own name. Numbers are given in the order of adding, so that a parent's is
 * always lower than its children's. Number 0 is the root.
 */
import { randomInt } from "node:crypto";
import { GrowingBytes, GrowingWords } from "./growing-array.ts";
import { ROOT } from "./layer-path.ts";
import type { LayerPath } from "./types.ts";

/** No such path. */
export const NOWHERE = -1;

const FIRST_PLACES = 256;
/** Share of the hash table that is filled at most, as a divisor. */
const PLACES_PER_PATH = 2;

export class PathTree {
  readonly #parents = new GrowingWords();
  /** Where the name of each path ends; it begins where the one before ends. */
  readonly #nameEnds = new GrowingWords();
  readonly #names = new GrowingBytes();
  /** Number + 1 of the path in each place, 0 for none. Collisions go on to the next place. */
  #places = new Uint32Array(FIRST_PLACES);
  /** So that nobody can choose names that all fall on one place. */
  readonly #seed = randomInt(2 ** 31);
  /** The directory that was looked for last: siblings come one after the other. */
  #lastDirectory: LayerPath = ROOT;
  #lastNumber = 0;

  constructor() {
    this.#parents.push(0);
    this.#nameEnds.push(0);
  }

  /** Paths, with the root. */
  get size(): number {
    return this.#parents.length;
  }

  parent(number: number): number {
    return this.#parents.at(number);
  }

  /** The number of a path, or NOWHERE. */
  find(path: LayerPath): number {
    if (path === ROOT) return 0;
    const slash = path.lastIndexOf("/");
    const directory = slash === -1 ? 0 : this.#findDirectory(path.slice(0, slash));
    return directory === NOWHERE ? NOWHERE : this.findIn(directory, Buffer.from(path.slice(slash + 1), "latin1"));
  }

  /** The number of a path; it, and directories above it that are missing, are added. */
  add(path: LayerPath): number {
    if (path === ROOT) return 0;
    const slash = path.lastIndexOf("/");
    let directory = 0;
    if (slash !== -1) {
      const above = path.slice(0, slash);
      directory = this.#findDirectory(above);
      if (directory === NOWHERE) directory = this.add(above);
    }
    const name = Buffer.from(path.slice(slash + 1), "latin1");
    const known = this.findIn(directory, name);
    return known === NOWHERE ? this.#append(directory, name) : known;
  }

  /** The number of the path of that name in a directory, or NOWHERE. */
  findIn(directory: number, name: Uint8Array): number {
    const mask = this.#places.length - 1;
    for (let place = this.#hash(directory, name) & mask; ; place = (place + 1) & mask) {
      const number = (this.#places[place] as number) - 1;
      if (number === -1) return NOWHERE;
      if (this.#parents.at(number) === directory && this.#isNamed(number, name)) return number;
    }
  }

  /** The last part of a path. Good until the next path is added. */
  name(number: number): Uint8Array {
    return this.#names.bytes.subarray(this.#nameStart(number), this.#nameEnds.at(number));
  }

  path(number: number): LayerPath {
    const parts: string[] = [];
    for (let at = number; at !== 0; at = this.parent(at)) parts.push(latin1(this.name(at)));
    return parts.reverse().join("/");
  }

  /** Those of the paths for which `wanted` says yes, in the order of their numbers. */
  *paths(wanted: (number: number) => boolean): Generator<LayerPath, void, void> {
    let directory = 0;
    let prefix = "";
    for (let number = 0; number < this.size; number++) {
      if (!wanted(number)) continue;
      if (this.parent(number) !== directory) {
        directory = this.parent(number);
        prefix = directory === 0 ? "" : `${this.path(directory)}/`;
      }
      yield number === 0 ? ROOT : prefix + latin1(this.name(number));
    }
  }

  #findDirectory(path: LayerPath): number {
    if (path === this.#lastDirectory) return this.#lastNumber;
    const number = this.find(path);
    if (number !== NOWHERE) {
      this.#lastDirectory = path;
      this.#lastNumber = number;
    }
    return number;
  }

  #append(directory: number, name: Uint8Array): number {
    const number = this.#parents.length;
    this.#parents.push(directory);
    this.#names.append(name);
    this.#nameEnds.push(this.#names.length);
    if (this.size * PLACES_PER_PATH > this.#places.length) this.#widen();
    else this.#place(number);
    return number;
  }

  #widen(): void {
    this.#places = new Uint32Array(this.#places.length * 2);
    for (let number = 1; number < this.size; number++) this.#place(number);
  }

  #place(number: number): void {
    const mask = this.#places.length - 1;
    let place = this.#hash(this.parent(number), this.name(number)) & mask;
    while (this.#places[place] !== 0) place = (place + 1) & mask;
    this.#places[place] = number + 1;
  }

  #nameStart(number: number): number {
    return number === 0 ? 0 : this.#nameEnds.at(number - 1);
  }

  #isNamed(number: number, name: Uint8Array): boolean {
    const start = this.#nameStart(number);
    if (this.#nameEnds.at(number) - start !== name.length) return false;
    const { bytes } = this.#names;
    for (let at = 0; at < name.length; at++) if (bytes[start + at] !== name[at]) return false;
    return true;
  }

  #hash(directory: number, name: Uint8Array): number {
    let hash = Math.imul(directory ^ this.#seed, 0x9e3779b1);
    for (let at = 0; at < name.length; at++) {
      hash = Math.imul(hash ^ (name[at] as number), 0x85ebca6b);
      hash ^= hash >>> 15;
    }
    return Math.imul(hash, 0xc2b2ae35) >>> 7;
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}
