/** A real etcd for tests: TLS with client certificates, loopback, a directory of its own for each member. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Authority, createAuthority, issueIdentity } from "../../identity/authority.ts";
import type { Identity } from "../../identity/identity.ts";
import { openEtcd } from "../etcd3-client.ts";
import type { EtcdPort } from "../etcd-port.ts";

export class EtcdProcess {
  readonly authority: Authority;
  readonly endpoint: string;
  /** A coordinator's identity, for openEtcd. */
  readonly identity: Identity;
  readonly #directory: string;
  readonly #child: ChildProcess;

  private constructor(
    authority: Authority,
    identity: Identity,
    endpoint: string,
    directory: string,
    child: ChildProcess,
  ) {
    this.authority = authority;
    this.identity = identity;
    this.endpoint = endpoint;
    this.#directory = directory;
    this.#child = child;
  }

  /** A cluster of one. */
  static async start(): Promise<EtcdProcess> {
    const [member] = await EtcdProcess.startCluster(1);
    if (member === undefined) throw new Error("no member was started");
    return member;
  }

  /** Returns when every member answers. */
  static async startCluster(count: number): Promise<EtcdProcess[]> {
    const authority = await createAuthority("test");
    const ports = await freePorts(2 * count);
    const plan = Array.from({ length: count }, (_, index) => ({
      name: `e${index + 1}`,
      clientPort: ports[2 * index],
      peer: `http://127.0.0.1:${ports[2 * index + 1]}`,
    }));
    const cluster = plan.map(({ name, peer }) => `${name}=${peer}`).join(",");
    const members: EtcdProcess[] = [];
    try {
      for (const member of plan) members.push(await EtcdProcess.#spawn(authority, member, cluster));
      await Promise.all(members.map((member) => member.#answers()));
      return members;
    } catch (thrown) {
      await Promise.all(members.map((member) => member.stop()));
      throw thrown;
    }
  }

  static async #spawn(
    authority: Authority,
    { name, clientPort, peer }: { name: string; clientPort: number | undefined; peer: string },
    cluster: string,
  ): Promise<EtcdProcess> {
    const directory = await mkdtemp(join(tmpdir(), "drayage-etcd-"));
    const server = await issueIdentity(
      authority,
      { role: "etcd", name },
      { alternativeNames: ["127.0.0.1", "localhost"] },
    );
    const identity = await issueIdentity(authority, { role: "coordinator", name: "c1" });
    const file = (name: string) => join(directory, name);
    await writeFile(file("ca.crt"), authority.caPem);
    await writeFile(file("etcd.crt"), server.certPem);
    await writeFile(file("etcd.key"), server.keyPem, { mode: 0o600 });
    const endpoint = `https://127.0.0.1:${clientPort}`;
    const options = {
      name,
      "data-dir": file("data"),
      // One address more than the certificate names.
      "listen-client-urls": `${endpoint},https://127.0.0.2:${clientPort}`,
      "advertise-client-urls": endpoint,
      "listen-peer-urls": peer,
      "initial-advertise-peer-urls": peer,
      "initial-cluster": cluster,
      "client-cert-auth": "true",
      "trusted-ca-file": file("ca.crt"),
      "cert-file": file("etcd.crt"),
      "key-file": file("etcd.key"),
      "log-level": "error",
    };
    const argv = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
    const child = spawn("etcd", argv, { stdio: ["ignore", "ignore", "inherit"] });
    return new EtcdProcess(authority, identity, endpoint, directory, child);
  }

  async #answers(): Promise<void> {
    const client = this.open();
    try {
      await client.get("ready", { deadlineMs: 20_000 });
    } finally {
      client.close();
    }
  }

  /** A new client with connections of its own. */
  open(): EtcdPort {
    return openEtcd({ endpoints: [this.endpoint], identity: this.identity });
  }

  /**
   * Hangs etcd: connections stay, answers do not come. Returns when it stands still: its threads stop one after the
   * other, and one that still runs answers.
   */
  suspend(): void {
    this.#child.kill("SIGSTOP");
    const threads = `/proc/${this.#child.pid}/task`;
    const stands = (thread: string) => /^State:\s+T/m.test(readFileSync(join(threads, thread, "status"), "utf8"));
    // Microseconds, and nothing tells of it.
    while (!readdirSync(threads).every(stands));
  }

  resume(): void {
    this.#child.kill("SIGCONT");
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = once(this.#child, "exit");
      this.#child.kill("SIGKILL");
      await gone;
    }
    await rm(this.#directory, { recursive: true });
  }
}

/** Below the ports that the kernel gives to outgoing connections, of which one could take the port meanwhile. */
const PORTS = { first: 12_000, last: 31_999 };

/** Ports of the loopback interface on which nobody listens. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = randomInt(PORTS.first, PORTS.last + 1);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await once(server.listen(port, "127.0.0.1"), "listening");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") return false;
    throw error;
  }
  await once(server.close(), "close");
  return true;
}
