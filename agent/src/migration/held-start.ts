/** Docker's start of the copy, which the gate lets end only with the verdict. */
import { pauseAtMost } from "@drayage/shared/concurrency/pause.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";

const END_LIMIT_MS = 30_000;

export class HeldStart {
  readonly #logger: Logger;
  /** Settles when the start has; undefined if this process did not call it. */
  #settled: Promise<void> | undefined;
  #failed: Promise<never> | undefined;
  #hasEnded = false;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** `start` is the call of Docker that has just been made. */
  begin(start: Promise<unknown>): void {
    this.#failed = start.then(() => {
      throw new DrayError(
        "DOCKER_ERROR",
        "docker start ended before the verdict; the runtime did not hold the container",
      );
    });
    this.#failed.catch(() => undefined);
    this.#settled = start
      .catch((thrown: unknown) => this.#logger.info({ err: toDrayError(thrown) }, "docker start has ended"))
      .then(() => {
        this.#hasEnded = true;
      });
  }

  /** False in an agent that was restarted since. */
  get wasCalled(): boolean {
    return this.#settled !== undefined;
  }

  /** Before a verdict this means that nobody holds the copy any more. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Waits for something of the gate's, but not longer than the start lasts, nor than the signal allows. */
  async whileHeld<T>(gate: Promise<T>, signal: AbortSignal): Promise<T> {
    // Nobody else may listen to it, and it may fail after this has ended.
    gate.catch(() => undefined);
    signal.throwIfAborted();
    const calledOff = Promise.withResolvers<never>();
    const onAbort = () => calledOff.reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await Promise.race([gate, ...(this.#failed === undefined ? [] : [this.#failed]), calledOff.promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** It ends with the verdict; one that does not is left to the removal, which fails clearly. */
  async ends(): Promise<void> {
    const limit = new AbortController();
    const late = pauseAtMost(END_LIMIT_MS, limit.signal);
    await Promise.race([this.#settled, late]);
    limit.abort();
  }
}
