/** Progress lines on stderr, each with the seconds since the command began. */

export interface Progress {
  step(message: string): void;
  /** The same, with a prefix before every message. */
  of(part: string): Progress;
  elapsedMs(): number;
}

export function createProgress(write: (line: string) => void = (line) => process.stderr.write(line)): Progress {
  const startedMs = performance.now();
  const elapsedMs = () => performance.now() - startedMs;
  const make = (prefix: string): Progress => ({
    step: (message) => write(`[${(elapsedMs() / 1000).toFixed(1).padStart(6)} s] ${prefix}${message}\n`),
    of: (part) => make(`${prefix}${part}: `),
    elapsedMs,
  });
  return make("");
}
