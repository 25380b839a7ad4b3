/** Logging: JSON lines on stdout, one logger per part, children carry migration_id and phase. */
import { type DestinationStream, pino, type Logger as PinoLogger } from "pino";

export type Logger = PinoLogger;

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Fields whose value never reaches a log, at the top and one level down. */
const SECRET_FIELDS = ["token", "secret", "key", "keyPem", "password", "authorization", "env", "Env"];

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Program: agent, coordinator, … */
  readonly part: string;
  readonly node: string;
  /** Where lines go instead of stdout. */
  readonly destination?: DestinationStream;
}

export function createLogger(options: LoggerOptions): Logger {
  const settings = {
    level: options.level,
    base: { part: options.part, node: options.node },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]), censor: "[redacted]" },
  };
  return options.destination === undefined ? pino(settings) : pino(settings, options.destination);
}

export interface MigrationPart {
  /** The side that an agent has in it. */
  readonly role?: "source" | "destination";
  readonly phase?: string;
}

/** A logger whose lines belong to one part of one migration. */
export function migrationLogger(logger: Logger, migrationId: string, part: MigrationPart): Logger {
  return logger.child({ migration_id: migrationId, ...part });
}
