/** How long a container stands still on the source in a migration that comes to nothing. */
export class Standstill {
  readonly #nowMs: () => number;
  #beganMs: number | undefined;
  #endedMs: number | undefined;

  /** `nowMs`: a clock that never goes back. */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Right before the freeze. */
  begin(): void {
    this.#beganMs ??= this.#nowMs();
  }

  /** For a container that an earlier process of the agent has frozen, at most so long ago. */
  beganAtMost(ms: number): void {
    this.#beganMs ??= this.#nowMs() - Math.max(0, ms);
  }

  get hasBegun(): boolean {
    return this.#beganMs !== undefined;
  }

  /** It runs again, or is gone. */
  end(): void {
    this.#endedMs ??= this.#nowMs();
  }

  /** 0 if it has never begun. */
  get lastedMs(): number {
    return this.#beganMs === undefined ? 0 : (this.#endedMs ?? this.#nowMs()) - this.#beganMs;
  }
}
