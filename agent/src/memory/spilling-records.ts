/**
 * Records of one size, of which there may be more than should lie in memory. They are numbered from 0 on, each all zeros
 * before its first use.
 *
 * ```
 *  number   0 … kept - 1   kept …
 *           in memory      in the file; those that were used last are in memory too, and are written back when others
 *                          take their place: whoever goes through all in order reads and writes each once
 * ```
 *
 * What the file does not take stays in memory; what it does not give back is all zeros again.
 */
import { crc32 } from "node:zlib";
import type { SpillFile } from "./spill-file.ts";

/** Records whose memory is allocated together. */
const KEPT_AT_A_TIME = 64;

export interface RecordLimits {
  /** Records that are always in memory. */
  readonly kept: number;
  /** Of the others, those that are in memory at a time, at least 1. */
  readonly cached: number;
}

export interface SpillingRecord {
  /** Of this record until the next one is asked for. */
  readonly bytes: Buffer;
  /** To be set by whoever changes the bytes. */
  isChanged: boolean;
}

export class SpillingRecords {
  readonly #recordBytes: number;
  readonly #limits: RecordLimits;
  readonly #file: SpillFile;
  readonly #kept: SpillingRecord[] = [];
  /** By number, in the order of their last use. */
  readonly #cached = new Map<number, SpillingRecord>();
  /** Of each that was written, beginning with the first that is not kept: where it is, and the CRC-32 of it. */
  readonly #positions: number[] = [];
  readonly #sums: number[] = [];

  constructor(recordBytes: number, limits: RecordLimits, file: SpillFile) {
    this.#recordBytes = recordBytes;
    this.#limits = limits;
    this.#file = file;
  }

  at(number: number): SpillingRecord {
    if (number < this.#limits.kept) {
      while (this.#kept.length <= number) this.#keepMore();
      return this.#kept[number] as SpillingRecord;
    }
    let record = this.#cached.get(number);
    if (record === undefined) {
      record = this.#room();
      this.#load(number, record);
    } else this.#cached.delete(number);
    this.#cached.set(number, record);
    return record;
  }

  #keepMore(): void {
    const block = Buffer.alloc(KEPT_AT_A_TIME * this.#recordBytes);
    for (let at = 0; at < block.length; at += this.#recordBytes) {
      this.#kept.push({ bytes: block.subarray(at, at + this.#recordBytes), isChanged: false });
    }
  }

  /** Memory for one more: that of the one whose last use is longest ago, if that can be written back. */
  #room(): SpillingRecord {
    const oldest = this.#cached.size < this.#limits.cached ? undefined : this.#cached.entries().next().value;
    if (oldest !== undefined) {
      const [number, record] = oldest;
      if (!record.isChanged || this.#write(number, record.bytes)) {
        this.#cached.delete(number);
        return record;
      }
    }
    return { bytes: Buffer.allocUnsafeSlow(this.#recordBytes), isChanged: false };
  }

  #write(number: number, bytes: Buffer): boolean {
    const index = number - this.#limits.kept;
    const position = this.#positions[index] ?? this.#file.allocate(bytes.length);
    if (!this.#file.write(bytes, position)) return false;
    this.#positions[index] = position;
    this.#sums[index] = crc32(bytes);
    return true;
  }

  #load(number: number, record: SpillingRecord): void {
    record.isChanged = false;
    const index = number - this.#limits.kept;
    const position = this.#positions[index];
    if (position !== undefined && this.#file.read(record.bytes, position, this.#sums[index] as number)) return;
    record.bytes.fill(0);
  }
}
