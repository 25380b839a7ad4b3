/** nftables rules whose program has been started already: applying them costs milliseconds. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { inNetworkNamespace, requireOwnNamespace } from "../host/netns.ts";
import { WaitingCommand } from "../host/waiting-command.ts";

const LIMIT_MS = 5000;
const NFT = ["nft", "-f", "-"];

export class PreparedRules {
  readonly #command: WaitingCommand;
  readonly #rules: string;

  private constructor(argv: readonly string[], rules: string) {
    this.#command = new WaitingCommand(argv);
    this.#rules = rules;
  }

  /** For the host's own network namespace. */
  static onHost(rules: string): PreparedRules {
    return new PreparedRules(NFT, rules);
  }

  /** For the network namespace of a container's process. */
  static async inNamespaceOf(pid: number, rules: string): Promise<PreparedRules> {
    await requireOwnNamespace(pid);
    return new PreparedRules(inNetworkNamespace(pid, NFT), rules);
  }

  /** Once. Throws DrayError NETWORK_LOCK_FAILED. */
  async apply(): Promise<void> {
    try {
      await this.#command.run(this.#rules, LIMIT_MS);
    } catch (cause) {
      const said = cause instanceof Error ? cause.message : String(cause);
      throw new DrayError("NETWORK_LOCK_FAILED", `nft refused the network lock: ${said}`, { cause });
    }
  }

  /** Ends the program if the rules are not wanted any more. */
  discard(): void {
    this.#command.discard();
  }
}
