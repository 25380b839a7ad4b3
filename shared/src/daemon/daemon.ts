/**
 * The frame of a program that systemd runs, the same for agent and
 * coordinator: flags, configuration, the log level read anew on SIGHUP,
 * readiness, and an end in good order on SIGTERM or SIGINT.
 */
import { parseArgs } from "node:util";
import { DrayError, toDrayError } from "../errors/dray-error.ts";
import { createLogger, type Logger, type LogLevel } from "../observe/logger.ts";
import { createSupervisor } from "../observe/sd-notify.ts";
import { VERSION } from "../observe/version.ts";

export interface Daemon<Config extends { readonly logLevel: LogLevel }> {
  /** As its log lines call it: "agent"; the program is drayage-agent then. */
  readonly part: string;
  /** Read if no other is named. */
  readonly configFile: string;
  /** BAD_CONFIG if something is wrong with it. */
  load(sources: { readonly path: string | undefined; readonly env: NodeJS.ProcessEnv }): Promise<Config>;
  /** Name of this node, or of this coordinator. */
  nodeOf(config: Config): string;
  start(config: Config, logger: Logger): Promise<RunningDaemon>;
}

export interface RunningDaemon {
  /** Resolves when it serves, with what the log says of it. */
  readonly ready: Promise<Readonly<Record<string, unknown>>>;
  /** Rejects if it can go on no more; never resolves. */
  readonly failed?: Promise<never>;
  /** May be called before it is ready. */
  stop(): Promise<void>;
}

/** Runs the program, and ends the process with it. A failure goes to stderr, its exit code is its reason's. */
export async function runDaemon<Config extends { readonly logLevel: LogLevel }>(
  daemon: Daemon<Config>,
  args: readonly string[] = process.argv.slice(2),
): Promise<void> {
  try {
    await runToEnd(daemon, args);
  } catch (thrown) {
    const error = toDrayError(thrown);
    process.stderr.write(`drayage-${daemon.part}: ${error.message}\n  remedy: ${error.remedy}\n`);
    process.exit(error.mapping.exitCode);
  }
}

async function runToEnd<Config extends { readonly logLevel: LogLevel }>(
  daemon: Daemon<Config>,
  args: readonly string[],
): Promise<void> {
  const values = flags(daemon.part, args);
  if (values.help) {
    process.stdout.write(usage(daemon.part, daemon.configFile));
    return;
  }
  if (values.version) {
    process.stdout.write(`drayage-${daemon.part} ${VERSION}\n`);
    return;
  }
  const load = () => daemon.load({ path: values.config, env: process.env });
  const config = await load();
  if (values["check-config"]) {
    process.stdout.write(`${values.config ?? daemon.configFile} is valid\n`);
    return;
  }
  const logger = createLogger({ level: config.logLevel, part: daemon.part, node: daemon.nodeOf(config) });
  process.on("SIGHUP", () => void reloadLogLevel(load, logger));
  await serve(daemon, config, logger);
}

function flags(part: string, args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        config: { type: "string" },
        "check-config": { type: "boolean", default: false },
        version: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (thrown) {
    const { message } = toDrayError(thrown);
    throw new DrayError("BAD_REQUEST", message, { remedy: `See drayage-${part} --help.`, cause: thrown });
  }
}

function usage(part: string, configFile: string): string {
  return `Usage: drayage-${part} [--config FILE] [--check-config]

  --config FILE    read this instead of ${configFile}
  --check-config   say whether the configuration is valid, and end
  --version        say the version, and end
  --help           this text

SIGHUP reads the log level anew; SIGTERM and SIGINT end it in good order.
`;
}

async function serve<Config extends { readonly logLevel: LogLevel }>(
  daemon: Daemon<Config>,
  config: Config,
  logger: Logger,
): Promise<void> {
  const supervisor = createSupervisor({ logger });
  const running = await daemon.start(config, logger);
  const stopping = stopSignal();
  const serving = running.ready.then(async (details) => {
    await supervisor.ready();
    logger.info({ version: VERSION, ...details }, "ready");
  });
  // Who is not ready yet may be stopped; once ready, only the others can end the wait.
  const end = [stopping, ...(running.failed === undefined ? [] : [running.failed])];
  const signal = (await Promise.race([serving, ...end])) ?? (await Promise.race(end));
  logger.info({ signal }, "stopping");
  await supervisor.stopping();
  await running.stop();
  process.exit(0);
}

async function reloadLogLevel(load: () => Promise<{ readonly logLevel: LogLevel }>, logger: Logger): Promise<void> {
  try {
    logger.level = (await load()).logLevel;
    logger.info({ log_level: logger.level }, "log level");
  } catch (thrown) {
    logger.error({ err: toDrayError(thrown) }, "the configuration was not reloaded");
  }
}

/** Resolves with the name of the first signal that asks for an end. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => resolve(name));
  });
}
