/** MigrationService: the leader answers; others forward. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { notFound } from "@drayage/shared/errors/not-found.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import { readRecord } from "@drayage/shared/etcd/records.ts";
import {
  type Migration,
  type MigrationServiceClient,
  MigrationServiceService,
  Outcome,
  type WatchMigrationResponse,
} from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { serverStream, unary } from "@drayage/shared/rpc/client.ts";
import { type CallContext, type RpcService, service } from "@drayage/shared/rpc/server.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { MigrationRecord } from "@drayage/shared/state/migration.ts";
import type { ClusterView } from "../cluster/view.ts";
import type { SagaSupervisor } from "../saga/supervisor.ts";
import { isPassing, type LeaderSeat, PATIENCE_MS } from "./leader-seat.ts";
import { toMigration } from "./to-proto.ts";

export interface MigrationServiceOptions {
  readonly etcd: EtcdPort;
  readonly view: ClusterView;
  readonly seat: LeaderSeat;
}

const FORWARD_MS = 15_000;
/** Preflight asks two agents, each with a limit of its own. */
const START_MS = 180_000;
const DEFAULT_LIMIT = 100;

export function migrationService(options: MigrationServiceOptions): RpcService {
  const { seat } = options;
  return service(MigrationServiceService, {
    allowedRoles: ["operator", "coordinator"],
    handlers: {
      startMigration: async (request, context) => {
        const answerers = {
          here: async (supervisor: SagaSupervisor) => ({
            migration: stateOf(supervisor, await supervisor.start(request, context.signal)),
          }),
          there: (client: MigrationServiceClient) =>
            unary(client, client.startMigration, request, { deadlineMs: START_MS, signal: context.signal }),
        };
        // Without a request id a repetition could start a second migration.
        if (request.requestId === "") return await seat.answer(isForwarded(context), context.signal, answerers);
        return await seat.answerPatiently(isForwarded(context), context.signal, answerers);
      },
      getMigration: (request, context) =>
        seat.answerPatiently(isForwarded(context), context.signal, {
          here: async (supervisor) => ({
            migration: await current(options, supervisor, idOf(options, supervisor, request.id)),
          }),
          there: (client) =>
            unary(client, client.getMigration, request, { deadlineMs: FORWARD_MS, signal: context.signal }),
        }),
      listMigrations: (request, context) =>
        seat.answerPatiently(isForwarded(context), context.signal, {
          here: async (supervisor) => {
            const all = options.view.migrations().filter((record) => !request.activeOnly || record.phase !== "done");
            const limit = request.limit === 0 ? DEFAULT_LIMIT : request.limit;
            return { migrations: all.slice(0, limit).map((record) => stateOf(supervisor, record)) };
          },
          there: (client) =>
            unary(client, client.listMigrations, request, { deadlineMs: FORWARD_MS, signal: context.signal }),
        }),
      cancelMigration: (request, context) =>
        seat.answerPatiently(isForwarded(context), context.signal, {
          here: async (supervisor) => {
            const id = idOf(options, supervisor, request.id);
            return { migration: stateOf(supervisor, await supervisor.cancel(id, request.allowProgressLoss)) };
          },
          there: (client) =>
            unary(client, client.cancelMigration, request, { deadlineMs: FORWARD_MS, signal: context.signal }),
        }),
      watchMigration: (request, context) => watch(options, request.id, context),
    },
  });
}

/** The migration at every change, over changes of leader, until it has an outcome. */
async function* watch(
  options: MigrationServiceOptions,
  text: string,
  context: CallContext,
): AsyncGenerator<WatchMigrationResponse, void, undefined> {
  const { seat } = options;
  const forwarded = isForwarded(context);
  let id = text;
  let heardAt = performance.now();
  while (!context.signal.aborted) {
    try {
      const responses = seat.stream<WatchMigrationResponse>(forwarded, {
        here: (supervisor) => watchHere(options, supervisor, idOf(options, supervisor, id), context.signal),
        there: (client) =>
          serverStream(
            client,
            client.watchMigration,
            { id },
            { deadlineMs: Number.POSITIVE_INFINITY, signal: context.signal },
          ),
      });
      for await (const response of responses) {
        heardAt = performance.now();
        id = response.migration?.id ?? id;
        yield response;
        if (response.migration !== undefined && hasEnded(response.migration)) return;
      }
    } catch (thrown) {
      const isOver = forwarded || context.signal.aborted || performance.now() - heardAt > PATIENCE_MS;
      if (isOver || !isPassing(thrown)) throw thrown;
    }
    if (forwarded) throw new DrayError("NOT_LEADER", "the leader changed");
    await seat.lookAgain(context.signal);
  }
}

async function* watchHere(
  options: MigrationServiceOptions,
  supervisor: SagaSupervisor,
  id: string,
  signal: AbortSignal,
): AsyncGenerator<WatchMigrationResponse, void, undefined> {
  for await (const state of supervisor.feed.follow(id, signal)) {
    yield { migration: toMigration(state) };
    if (state.record.outcome !== null) return;
  }
  yield { migration: await current(options, supervisor, id) };
}

/** What was accepted a moment ago may not be in the view yet. */
function idOf(options: MigrationServiceOptions, supervisor: SagaSupervisor, text: string): string {
  return supervisor.feed.get(text) === undefined ? options.view.migration(text).id : text;
}

/** What is in memory, else what etcd has. */
async function current(options: MigrationServiceOptions, supervisor: SagaSupervisor, id: string): Promise<Migration> {
  const state = supervisor.feed.get(id);
  if (state !== undefined) return toMigration(state);
  const stored = await readRecord(options.etcd, MigrationRecord, keys.migration(id));
  if (stored === null) throw notFound("migration", id);
  return toMigration({ record: stored.record, progress: undefined });
}

function stateOf(supervisor: SagaSupervisor, record: MigrationRecord): Migration {
  return toMigration(supervisor.feed.get(record.id) ?? { record, progress: undefined });
}

function hasEnded(migration: Migration): boolean {
  return migration.outcome !== Outcome.OUTCOME_UNSPECIFIED;
}

function isForwarded(context: CallContext): boolean {
  return context.peer.role === "coordinator";
}
