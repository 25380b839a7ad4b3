/** The gate itself: sessions by container, and the socket. */
import { Serial } from "@drayage/shared/concurrency/serial.ts";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import { bootClockMs } from "../host/boot-clock.ts";
import { type Asker, listenForRuntime } from "./gate-socket.ts";
import { RecordStore } from "./record-store.ts";
import { Session, type SessionHost } from "./restore-session.ts";
import type { ArmRequest, RestoreSession, RuntimeGate } from "./runtime-gate.ts";

export interface RuntimeGateOptions {
  /** Directory of restore records; the path is compiled into drayage-runc. */
  readonly recordDirectory?: string;
  /** Directory of the sessions' files. */
  readonly sessionDirectory?: string;
  /** Socket on which drayage-runc asks; compiled into it, too. */
  readonly socketPath?: string;
  /** drayage-runc itself; what stands before CRIU, its action script and the network hook are links to it. */
  readonly runtimePath?: string;
  /** The real runc, absolute. */
  readonly runcPath?: string;
  /** Told of what goes wrong beside a caller. */
  readonly onProblem?: (message: string, cause: unknown) => void;
}

/** Rebuilds the sessions from the records and listens for drayage-runc. */
export async function openRuntimeGate(options: RuntimeGateOptions = {}): Promise<RuntimeGate> {
  const onProblem = options.onProblem ?? (() => {});
  const store = new RecordStore(
    options.recordDirectory ?? "/run/drayage/restore",
    options.sessionDirectory ?? "/run/drayage/sessions",
    options.runtimePath ?? "/usr/lib/drayage/drayage-runc",
  );
  await store.prepareDirectories();
  const host: SessionHost = { store, runcPath: options.runcPath ?? "/usr/sbin/runc", onProblem };
  const records = await store.readRecords((name, cause) => onProblem(`restore record ${name} is unreadable`, cause));
  const sessions = new Map(records.map((record) => [record.dockerId, new Session(host, record)]));
  const gate = new Gate(host, sessions);
  const socket = await listenForRuntime(
    options.socketPath ?? "/run/drayage/runtime.sock",
    (asker) => gate.onAsker(asker),
    onProblem,
  );
  gate.onClose = () => socket.close();
  return gate;
}

class Gate implements RuntimeGate {
  readonly #host: SessionHost;
  readonly #sessions: Map<string, Session>;
  readonly #serial = new Serial();
  onClose: () => Promise<void> = async () => {};

  constructor(host: SessionHost, sessions: Map<string, Session>) {
    this.#host = host;
    this.#sessions = sessions;
  }

  arm(request: ArmRequest): Promise<RestoreSession> {
    return this.#serial.run(async () => {
      const { dockerId, migrationId, deadlineMs, network } = request;
      const present = this.#sessions.get(dockerId);
      if (present?.migrationId === migrationId) return present;
      if (present !== undefined) {
        throw new DrayError("ALREADY_MIGRATING", `migration ${present.migrationId} restores ${dockerId.slice(0, 12)}`);
      }
      const { store } = this.#host;
      await store.createSession(dockerId, { "network.nft": network.nft, "network.ip": network.ipBatch });
      const record = {
        dockerId,
        migrationId,
        deadlineMs: bootClockMs() + deadlineMs,
        state: { name: "armed" },
      } as const;
      const session = new Session(this.#host, record);
      // Known before the record stands: a create may come at once.
      this.#sessions.set(dockerId, session);
      try {
        await faultPoint("gate.before-record-armed");
        await store.writeRecord(record);
        await faultPoint("gate.after-record-armed");
      } catch (error) {
        this.#sessions.delete(dockerId);
        throw error;
      }
      return session;
    });
  }

  session(dockerId: string): RestoreSession | undefined {
    return this.#sessions.get(dockerId);
  }

  sessions(): readonly RestoreSession[] {
    return [...this.#sessions.values()];
  }

  disarm(dockerId: string): Promise<void> {
    return this.#serial.run(async () => {
      await this.#sessions.get(dockerId)?.beforeDisarm();
      await this.#host.store.remove(dockerId);
      this.#sessions.delete(dockerId);
    });
  }

  close(): Promise<void> {
    return this.onClose();
  }

  onAsker(asker: Asker): void {
    const { verb, dockerId } = asker.request;
    const session = this.#sessions.get(dockerId);
    const answered =
      session?.onAsker(asker) ??
      asker.answer({ type: "fail", message: `no restore of ${dockerId.slice(0, 12)} is known to the agent` });
    answered.catch((cause: unknown) => {
      this.#host.onProblem(`${verb} of ${dockerId.slice(0, 12)}`, cause);
    });
  }
}
