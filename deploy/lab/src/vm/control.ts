/**
 * The way for commands into a virtual machine: SSH over a link of its own,
 * which no partition of the lab's network concerns. It has only link-local
 * addresses, the same for every node, each on its own interface of the host.
 */
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { quote } from "../cluster/client.ts";
import { run } from "../host/run.ts";
import { exists } from "../rootfs/cache.ts";

const HOST_ADDRESS = "fe80::1/64";
/** The node's end. */
export const CONTROL_ADDRESS = "fe80::2";
export const CONTROL_INTERFACE = "lab0";
const SSH_PORT = 22;
/** The kernel of a node answers for a listening daemon; emulated, and beside other nodes, it may take its time. */
const ANSWER_DEADLINE_MS = 10_000;

export function controlPort(machine: string): string {
  return `vc-${machine}`;
}

/** Gives the host's end of the link its address. */
export async function raiseControlPort(port: string, signal?: AbortSignal): Promise<void> {
  await run(["ip", "address", "replace", HOST_ADDRESS, "dev", port, "nodad"], { signal });
  await run(["ip", "link", "set", port, "up"], { signal });
}

/** Whether something listens for commands on the other end. */
export async function takesCommands(port: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: `${CONTROL_ADDRESS}%${port}`, port: SSH_PORT });
    const answer = (listening: boolean) => {
      socket.destroy();
      resolve(listening);
    };
    socket.setTimeout(ANSWER_DEADLINE_MS, () => answer(false));
    socket.once("connect", () => answer(true));
    socket.once("error", () => answer(false));
  });
}

/** Key pairs of a lab's control links, made by the first node that boots. */
export class ControlKeys {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  get #host(): string {
    return join(this.#directory, "host");
  }

  get #node(): string {
    return join(this.#directory, "node");
  }

  /** Makes what is missing. */
  async ensure(signal?: AbortSignal): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    for (const key of [this.#host, this.#node]) {
      if (await exists(`${key}.pub`)) continue;
      await run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "drayage-lab", "-f", key], { signal });
    }
    const [type, text] = (await readFile(`${this.#node}.pub`, "utf8")).split(" ");
    await writeFile(this.#knownHosts, `${HOST_KEY_ALIAS} ${type} ${text}\n`);
    await chmod(this.#host, 0o600);
  }

  get #knownHosts(): string {
    return join(this.#directory, "known_hosts");
  }

  /** What a node has of them, by absolute path; for root alone. */
  async nodeFiles(): Promise<Readonly<Record<string, string>>> {
    return {
      "/etc/lab/host_key": await readFile(this.#node, "utf8"),
      "/etc/lab/authorized_keys": await readFile(`${this.#host}.pub`, "utf8"),
    };
  }

  /** The command of the host that runs `argv` in the node behind the port. */
  sshArgv(port: string, argv: readonly string[], terminal: boolean): string[] {
    const options = {
      BatchMode: "yes",
      IdentitiesOnly: "yes",
      UserKnownHostsFile: this.#knownHosts,
      GlobalKnownHostsFile: "/dev/null",
      HostKeyAlias: HOST_KEY_ALIAS,
      ControlPath: "none",
      // What costs an emulated processor least.
      KexAlgorithms: "curve25519-sha256",
      Ciphers: "aes128-ctr",
      MACs: "umac-64-etm@openssh.com",
      LogLevel: "ERROR",
    };
    return [
      ...["ssh", "-F", "none", "-i", this.#host, "-e", "none", terminal ? "-t" : "-T"],
      ...Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${optionValue(value)}`]),
      ...[`root@${CONTROL_ADDRESS}%${port}`, "--", remoteCommand(argv)],
    ];
  }
}

const HOST_KEY_ALIAS = "node";

/** Ssh takes a value apart at blanks. */
function optionValue(value: string): string {
  return /\s/.test(value) ? `"${value}"` : value;
}

/** The one line that the node's shell gets and becomes. When this side is ended, the command in the node is too. */
export function remoteCommand(argv: readonly string[]): string {
  return ["exec", "/usr/bin/setpriv", "--pdeathsig", "TERM", ...argv].map(quote).join(" ");
}
