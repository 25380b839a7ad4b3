/**
 * Tells systemd how the process is, through `systemd-notify` (Node cannot
 * write to datagram sockets of the file system). Without NOTIFY_SOCKET all of
 * it does nothing. The unit needs NotifyAccess=all, since a child speaks.
 */
import { execFile } from "node:child_process";
import type { Logger } from "./logger.ts";

export interface Supervisor {
  /** READY=1. Resolves when systemd has been told. */
  ready(): Promise<void>;
  /** STOPPING=1, and no watchdog pings from then on. */
  stopping(): Promise<void>;
  /** Free text, one line, shown by `systemctl status`. */
  status(text: string): Promise<void>;
}

export interface SupervisorOptions {
  readonly logger: Logger;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const NOTIFY_TIMEOUT_MS = 5_000;

/**
 * Starts pinging the watchdog if the unit has one. The pings come from a
 * timer of the event loop: a loop that hangs sends none.
 */
export function createSupervisor(options: SupervisorOptions): Supervisor {
  const env = options.env ?? takeSystemdEnvironment();
  const socket = env["NOTIFY_SOCKET"] ?? "";
  if (socket === "") {
    const nothing = () => Promise.resolve();
    return { ready: nothing, stopping: nothing, status: nothing };
  }
  const notify = (...states: string[]) => notifySystemd(socket, states, options.logger);
  const periodMs = watchdogPeriodMs(env, process.pid);
  const pings = periodMs === null ? null : setInterval(() => void notify("WATCHDOG=1"), periodMs);
  pings?.unref();
  return {
    ready: () => notify("READY=1"),
    stopping: () => {
      if (pings !== null) clearInterval(pings);
      return notify("STOPPING=1");
    },
    status: (text) => notify(`STATUS=${text.replaceAll(/\s+/g, " ")}`),
  };
}

/** Takes the variables out of the environment: runc, for one, behaves differently when it inherits them. */
function takeSystemdEnvironment(): Record<string, string | undefined> {
  const taken: Record<string, string | undefined> = {};
  for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]) {
    taken[name] = process.env[name];
    delete process.env[name];
  }
  return taken;
}

/** Half the watchdog's limit, or null if this process has no watchdog. Pure. */
export function watchdogPeriodMs(env: Readonly<Record<string, string | undefined>>, pid: number): number | null {
  const limitUsec = Number(env["WATCHDOG_USEC"] ?? "");
  const watched = env["WATCHDOG_PID"] ?? "";
  if (!Number.isSafeInteger(limitUsec) || limitUsec <= 0) return null;
  if (watched !== "" && Number(watched) !== pid) return null;
  return Math.max(1, Math.floor(limitUsec / 2_000));
}

/** A failure is logged, not thrown: the work goes on, and systemd's own timeouts say the rest. */
function notifySystemd(socket: string, states: string[], logger: Logger): Promise<void> {
  return new Promise((resolve) => {
    const env = { PATH: process.env["PATH"], NOTIFY_SOCKET: socket };
    execFile("systemd-notify", states, { env, timeout: NOTIFY_TIMEOUT_MS }, (error) => {
      if (error !== null) logger.warn({ err: error, states }, "cannot notify systemd");
      resolve();
    });
  });
}
