/** What etcd and the agents' journals say of a migration, read beside all programs under test. */
import { openEtcd } from "@drayage/shared/etcd/etcd3-client.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import { decodeRecord, readRecord } from "@drayage/shared/etcd/records.ts";
import { loadIdentity } from "@drayage/shared/identity/identity.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { MigrationRecord } from "@drayage/shared/state/migration.ts";
import { OwnerRecord } from "@drayage/shared/state/owner.ts";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../harness/eventually.ts";
import type { TestLab } from "../harness/test-lab.ts";

const PKI = "/etc/drayage/pki";
const POLL_MS = 50;
const ENDED = ["finished", "aborted"];

export class ClusterState {
  readonly #lab: TestLab;
  readonly #etcd: EtcdPort;

  private constructor(lab: TestLab, etcd: EtcdPort) {
    this.#lab = lab;
    this.#etcd = etcd;
  }

  /** Reads etcd with the identity of the first node's agent. */
  static async open(lab: TestLab): Promise<ClusterState> {
    const [node = ""] = lab.nodes;
    const directory = await mkdtemp(join(tmpdir(), "drayage-faults-"));
    try {
      for (const file of ["ca.crt", "agent.crt", "agent.key"]) {
        await writeFile(join(directory, file), `${await lab.exec(node, ["cat", `${PKI}/${file}`])}\n`, { mode: 0o600 });
      }
      const endpoints = lab.nodes.map((each) => `https://${lab.nodeAddress(each)}:2379`);
      return new ClusterState(lab, openEtcd({ endpoints, identity: await loadIdentity(directory, "agent") }));
    } finally {
      await rm(directory, { recursive: true });
    }
  }

  close(): void {
    this.#etcd.close();
  }

  async migration(id: string): Promise<MigrationRecord | undefined> {
    return (await readRecord(this.#etcd, MigrationRecord, keys.migration(id)))?.record;
  }

  async owner(uuid: string): Promise<OwnerRecord | undefined> {
    return (await readRecord(this.#etcd, OwnerRecord, keys.owner(uuid)))?.record;
  }

  /** The record once `accept` takes it. */
  async migrationWhen(
    id: string,
    accept: (record: MigrationRecord) => boolean,
    what: string,
    deadlineMs: number,
  ): Promise<MigrationRecord> {
    let last: MigrationRecord | undefined;
    try {
      return await eventually(
        async () => {
          last = await this.migration(id);
          return last !== undefined && accept(last) ? last : undefined;
        },
        { what: `migration ${id} ${what}`, deadlineMs, everyMs: POLL_MS },
      );
    } catch (error) {
      throw new Error(`migration ${id} is ${JSON.stringify({ ...last, phases: undefined, findings: undefined })}`, {
        cause: error,
      });
    }
  }

  /** Migrations of this container that have not ended. */
  async under(uuid: string): Promise<string | undefined> {
    return (await this.#etcd.get(keys.migrationLock(uuid)))?.value;
  }

  /** All migrations, the latest last. */
  async migrations(): Promise<MigrationRecord[]> {
    const { entries } = await this.#etcd.getPrefix(keys.migrations());
    return entries
      .map((entry) => decodeRecord(MigrationRecord, entry).record)
      .sort((one, other) => one.startedAtMs - other.startedAtMs);
  }

  /** Node of the coordinator that leads: its candidate key is the oldest. */
  async leader(): Promise<string> {
    const { entries } = await this.#etcd.getPrefix(keys.election());
    const [first] = [...entries].sort((one, other) => one.createRevision - other.createRevision);
    if (first === undefined) throw new Error("nobody leads");
    return first.key.slice(keys.election().length);
  }

  /** The state in the last line of the node's journal of that migration; undefined if it has none. */
  async journaled(node: string, id: string): Promise<string | undefined> {
    const file = `/var/lib/drayage/journal/${id}.journal`;
    const { exitCode, stdout } = await this.#lab.tryExec(node, ["tail", "-n", "1", file]);
    if (exitCode !== 0) return undefined;
    return /"state":"(\w+)"/.exec(stdout)?.[1];
  }

  /** Waits until no node has anything more to do for that migration. */
  async ended(id: string, nodes: readonly string[], deadlineMs: number): Promise<void> {
    const states = new Map<string, string | undefined>();
    try {
      await eventually(
        async () => {
          for (const node of nodes) states.set(node, await this.journaled(node, id));
          return [...states.values()].every((state) => state === undefined || ENDED.includes(state)) ? true : undefined;
        },
        { what: `the agents end migration ${id}`, deadlineMs, everyMs: 100 },
      );
    } catch (error) {
      throw new Error(`the journals of migration ${id} say ${JSON.stringify(Object.fromEntries(states))}`, {
        cause: error,
      });
    }
  }
}
