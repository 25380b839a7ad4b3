/** `dray`. */
import { Interrupts } from "./interrupts.ts";
import { run } from "./run.ts";
import { standardTerminal } from "./terminal.ts";

const interrupts = new Interrupts();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => interrupts.interrupt());

// Whoever reads the output may stop early, as in `dray events | head -1`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

process.exitCode = await run({
  args: process.argv.slice(2),
  env: process.env,
  terminal: standardTerminal(process.env),
  interrupts,
});
