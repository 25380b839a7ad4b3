/** A cluster of scripted coordinators on the loopback interface, real servers with real certificates. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClusterServiceService } from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import { MigrationServiceService } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { type Authority, createAuthority, issueIdentity } from "@drayage/shared/identity/authority.ts";
import { storeIdentity } from "@drayage/shared/identity/store.ts";
import { createLogger } from "@drayage/shared/observe/logger.ts";
import { createRpcServer, type Handlers, type RpcServer, service } from "@drayage/shared/rpc/server.ts";
import { Registry } from "prom-client";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { Interrupts } from "../interrupts.ts";
import { run } from "../run.ts";

export type ClusterHandlers = Partial<Handlers<typeof ClusterServiceService>>;
export type MigrationHandlers = Partial<Handlers<typeof MigrationServiceService>>;

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class TestCluster {
  readonly #authority: Authority;
  readonly #directory: string;
  readonly #servers: RpcServer[] = [];
  readonly #addresses: string[] = [];

  constructor(authority: Authority, directory: string) {
    this.#authority = authority;
    this.#directory = directory;
  }

  static async make(): Promise<TestCluster> {
    const cluster = new TestCluster(await createAuthority("lab"), await mkdtemp(join(tmpdir(), "dray-test-")));
    const operator = await issueIdentity(cluster.#authority, { role: "operator", name: "ann" });
    await storeIdentity(join(cluster.#directory, "pki"), operator, { overwrite: true });
    return cluster;
  }

  /** Starts a coordinator; calls that are not scripted fail as INTERNAL. */
  async coordinator(
    name: string,
    scripted: { cluster?: ClusterHandlers; migrations?: MigrationHandlers },
  ): Promise<RpcServer> {
    const unscripted = async () => {
      throw new DrayError("INTERNAL", "not scripted");
    };
    const unscriptedStream = async function* () {
      yield await unscripted();
    };
    const server = createRpcServer({
      identity: await issueIdentity(this.#authority, { role: "coordinator", name }),
      node: name,
      logger: createLogger({ level: "fatal", part: "test", node: name }),
      registry: new Registry(),
      services: [
        service(ClusterServiceService, {
          allowedRoles: ["operator"],
          handlers: {
            listNodes: unscripted,
            getNode: unscripted,
            forgetNode: unscripted,
            listContainers: unscripted,
            getContainer: unscripted,
            check: unscripted,
            watchEvents: unscriptedStream,
            getVersion: unscripted,
            ...scripted.cluster,
          },
        }),
        service(MigrationServiceService, {
          allowedRoles: ["operator"],
          handlers: {
            startMigration: unscripted,
            getMigration: unscripted,
            listMigrations: unscripted,
            watchMigration: unscriptedStream,
            cancelMigration: unscripted,
            ...scripted.migrations,
          },
        }),
      ],
    });
    this.#addresses.push(`127.0.0.1:${await server.bind("127.0.0.1:0")}`);
    this.#servers.push(server);
    return server;
  }

  /** Runs `dray` with these arguments, not on a terminal. */
  async dray(args: readonly string[], interrupts = new Interrupts()): Promise<Result> {
    const file = join(this.#directory, "client.yaml");
    await writeFile(file, `coordinators: ${JSON.stringify(this.#addresses)}\n`);
    let stdout = "";
    let stderr = "";
    const code = await run({
      args,
      env: { DRAYAGE_CONFIG: file },
      interrupts,
      terminal: {
        data: (line) => {
          stdout += `${line}\n`;
        },
        note: (line) => {
          stderr += `${line}\n`;
        },
        raw: (text) => {
          stderr += text;
        },
        canRedraw: false,
        columns: 80,
        paint: (_, text) => text,
      },
    });
    return { code, stdout, stderr };
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.shutdown(0)));
    await rm(this.#directory, { recursive: true });
  }
}
