/** drayage.agent.v1.MigrationService: orders in, state machines behind. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import {
  type FetchResponse,
  MigrationServiceService,
  type PrepareResponse,
  type SwitchResponse,
  type SyncResponse,
} from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { Progress } from "@drayage/shared/gen/drayage/common/v1/progress.ts";
import { type RpcService, service } from "@drayage/shared/rpc/server.ts";
import type { AgentHost } from "../migration/agent-host.ts";
import { DestinationMigration } from "../migration/destination-migration.ts";
import type { JoinableRun } from "../migration/joinable-run.ts";
import type { Migrations } from "../migration/migrations.ts";
import { checkPageRoutes } from "../preflight/page-routes.ts";
import { checkDestination, inspectSource } from "../preflight/preflight.ts";

export function migrationService(host: AgentHost, migrations: Migrations): RpcService {
  const preflight = (signal: AbortSignal) => ({ ...host, signal });
  return service(MigrationServiceService, {
    allowedRoles: ["coordinator"],
    handlers: {
      inspectSource: (request, { signal }) => inspectSource(preflight(signal), request.dockerId, request.allowFlags),

      async checkDestination(request, { signal }) {
        if (request.description === undefined)
          throw new DrayError("BAD_REQUEST", "CheckDestination needs a description");
        return checkDestination(preflight(signal), request.description, request.sourceNode, request.allowFlags);
      },

      checkPageRoutes: (request, { signal }) => checkPageRoutes(host, request.routes, signal),

      async reserve(request) {
        return (await migrations.destination(request)).reserve();
      },

      async *sync(request, { signal }): AsyncGenerator<SyncResponse> {
        const source = await migrations.source(request);
        yield* answers(source.sync(request), signal, (progress, result) => ({ progress, result }));
      },

      async *prepare(request, { signal }): AsyncGenerator<PrepareResponse> {
        const destination = await migrations.existingDestination(await migrations.admit(request.order));
        yield* answers(destination.prepare(request.postCopy), signal, (progress, result) => ({ progress, result }));
      },

      async *switch(request, { signal }): AsyncGenerator<SwitchResponse> {
        const source = await migrations.existingSource(await migrations.admit(request.order));
        yield* answers(source.switch(request), signal, (progress, result) => ({ progress, result }));
      },

      async activate(request) {
        return (await migrations.existingDestination(await migrations.admit(request.order))).activate();
      },

      async *fetch(request, { signal }): AsyncGenerator<FetchResponse> {
        const destination = await migrations.existingDestination(await migrations.admit(request.order));
        yield* answers(await destination.fetch(), signal, (progress, result) => ({ progress, result }));
      },

      async finish(request) {
        const id = await migrations.admit(request.order);
        // Unknown here means long forgotten: nothing of it is left.
        return (await (await migrations.find(id))?.finish()) ?? { warnings: [], thawedAtMs: 0 };
      },

      async abort(request) {
        const id = await migrations.admit(request.order);
        const migration = await migrations.find(id);
        // Unknown here means that it never began: the container was not touched.
        if (migration === undefined) {
          migrations.refuse(id);
          return { sourceRunning: true, epoch: 0, steps: [], frozenMs: 0 };
        }
        if (migration instanceof DestinationMigration) {
          await migration.abort(request.reason);
          return { sourceRunning: false, epoch: 0, steps: migration.steps, frozenMs: 0 };
        }
        return migration.abort(request.reason);
      },

      async getStatus(request) {
        const migration = await migrations.find(request.migrationId);
        if (migration === undefined) return { role: "", state: "", error: "" };
        const { role, state, error } = migration.entry;
        return { role, state, error };
      },
    },
  });
}

async function* answers<Result, Response>(
  run: JoinableRun<Result>,
  signal: AbortSignal,
  compose: (progress: Progress | undefined, result: Result | undefined) => Response,
): AsyncGenerator<Response> {
  const followed = run.follow(signal);
  for (;;) {
    const next = await followed.next();
    if (next.done) {
      yield compose(undefined, next.value);
      return;
    }
    yield compose(next.value, undefined);
  }
}
