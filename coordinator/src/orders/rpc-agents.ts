/** Agents over gRPC: one connection per node, made when needed, made anew when it failed. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import {
  type MigrationServiceClient,
  MigrationServiceClient as MigrationClient,
} from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { Identity } from "@drayage/shared/identity/identity.ts";
import { type Connection, connect, serverStream, unary } from "@drayage/shared/rpc/client.ts";
import type { AgentOrders, Agents, OrderOptions } from "./agent-orders.ts";

export interface RpcAgentsOptions {
  readonly identity: Identity;
  /** "host:port" of a node's agent; empty if the node is not registered. */
  readonly addressesOf: (node: string) => readonly string[];
}

interface Cached {
  readonly addresses: string;
  readonly connection: Promise<Connection>;
}

export class RpcAgents implements Agents {
  readonly #options: RpcAgentsOptions;
  readonly #connections = new Map<string, Cached>();

  constructor(options: RpcAgentsOptions) {
    this.#options = options;
  }

  of(node: string): AgentOrders {
    const call = async <Response>(
      options: OrderOptions,
      send: (
        client: MigrationServiceClient,
        settings: { deadlineMs: number; signal?: AbortSignal },
      ) => Promise<Response>,
    ): Promise<Response> => this.#withClient(node, (client) => send(client, settingsOf(options)));
    const stream = <Response>(
      options: OrderOptions,
      open: (
        client: MigrationServiceClient,
        settings: { deadlineMs: number; signal?: AbortSignal },
      ) => AsyncIterable<Response>,
    ): AsyncIterable<Response> => this.#streamWithClient(node, (client) => open(client, settingsOf(options)));
    return {
      inspectSource: (request, options) =>
        call(options, (client, settings) => unary(client, client.inspectSource, request, settings)),
      checkDestination: (request, options) =>
        call(options, (client, settings) => unary(client, client.checkDestination, request, settings)),
      checkPageRoutes: (request, options) =>
        call(options, (client, settings) => unary(client, client.checkPageRoutes, request, settings)),
      reserve: (request, options) =>
        call(options, (client, settings) => unary(client, client.reserve, request, settings)),
      sync: (request, options) =>
        stream(options, (client, settings) => serverStream(client, client.sync, request, settings)),
      prepare: (request, options) =>
        stream(options, (client, settings) => serverStream(client, client.prepare, request, settings)),
      fetch: (request, options) =>
        stream(options, (client, settings) => serverStream(client, client.fetch, request, settings)),
      switch: (request, options) =>
        stream(options, (client, settings) => serverStream(client, client.switch, request, settings)),
      activate: (request, options) =>
        call(options, (client, settings) => unary(client, client.activate, request, settings)),
      finish: (request, options) =>
        call(options, (client, settings) => unary(client, client.finish, request, settings)),
      abort: (request, options) => call(options, (client, settings) => unary(client, client.abort, request, settings)),
      getStatus: (request, options) =>
        call(options, (client, settings) => unary(client, client.getStatus, request, settings)),
    };
  }

  /** Ends all connections. */
  close(): void {
    for (const node of [...this.#connections.keys()]) this.#forget(node);
  }

  async #withClient<T>(node: string, use: (client: MigrationServiceClient) => Promise<T>): Promise<T> {
    try {
      return await use(await this.#client(node));
    } catch (thrown) {
      throw this.#named(node, thrown);
    }
  }

  async *#streamWithClient<T>(
    node: string,
    open: (client: MigrationServiceClient) => AsyncIterable<T>,
  ): AsyncGenerator<T, void, undefined> {
    try {
      yield* open(await this.#client(node));
    } catch (thrown) {
      throw this.#named(node, thrown);
    }
  }

  async #client(node: string): Promise<MigrationServiceClient> {
    const addresses = this.#options.addressesOf(node);
    if (addresses.length === 0) throw new DrayError("AGENT_UNAVAILABLE", `node ${node} is down`, { node });
    const joined = addresses.join(" ");
    let cached = this.#connections.get(node);
    if (cached !== undefined && (cached.addresses !== joined || !(await isUsable(cached)))) {
      this.#forget(node, cached);
      cached = this.#connections.get(node);
    }
    if (cached === undefined) {
      const connection = connect({
        identity: this.#options.identity,
        addresses,
        expected: { role: "agent", name: node },
      });
      const made: Cached = { addresses: joined, connection };
      cached = made;
      this.#connections.set(node, made);
      // Whatever was wrong, the next order tries anew: a certificate may have been renewed, an agent upgraded.
      connection.catch(() => {
        if (this.#connections.get(node) === made) this.#connections.delete(node);
      });
    }
    return (await cached.connection).client(MigrationClient);
  }

  /** Adds the node to an error, and drops a connection over which nobody answers. */
  #named(node: string, thrown: unknown): unknown {
    if (!(thrown instanceof DrayError)) return thrown;
    if (thrown.reason === "AGENT_UNAVAILABLE" || thrown.reason === "TIMEOUT") this.#forget(node);
    if (thrown.node !== "") return thrown;
    return new DrayError(thrown.reason, thrown.message, { remedy: thrown.remedy, node, cause: thrown });
  }

  #forget(node: string, cached = this.#connections.get(node)): void {
    if (this.#connections.get(node) === cached) this.#connections.delete(node);
    // A connection that never came about has nothing to close.
    cached?.connection.then(
      (connection) => connection.close(),
      () => undefined,
    );
  }
}

/** Not one that broke since; what is still being made is, whatever it comes to. */
async function isUsable({ connection }: Cached): Promise<boolean> {
  return await connection.then(
    (made) => made.isUp(),
    () => true,
  );
}

function settingsOf(options: OrderOptions): { deadlineMs: number; signal?: AbortSignal } {
  return options.signal === undefined
    ? { deadlineMs: options.deadlineMs }
    : { deadlineMs: options.deadlineMs, signal: options.signal };
}
