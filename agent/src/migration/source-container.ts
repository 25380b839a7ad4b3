/** The container that leaves, as Docker and runc know it at the moment of the question. */
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { ContainerInspect } from "../docker/types.ts";
import { freezeCgroup, killCgroup, thawCgroup } from "../host/cgroup.ts";
import { type RuncContainer, runcContainer } from "../host/runc-state.ts";
import type { AgentHost } from "./agent-host.ts";

export const FREEZE_DEADLINE_MS = 10_000;

export class SourceContainer {
  readonly #host: AgentHost;
  readonly #dockerId: string;
  readonly #name: string;

  constructor(host: AgentHost, { dockerId, containerName }: { dockerId: string; containerName: string }) {
    this.#host = host;
    this.#dockerId = dockerId;
    this.#name = containerName;
  }

  /** Null if somebody has removed the container. */
  async inspect(): Promise<ContainerInspect | null> {
    try {
      return await this.#host.docker.inspectContainer(this.#dockerId);
    } catch (thrown) {
      if (toDrayError(thrown).reason === "NOT_FOUND") return null;
      throw thrown;
    }
  }

  /** True while it has processes, frozen or not. */
  async isRunning(): Promise<boolean> {
    return (await this.inspect())?.State.Running ?? false;
  }

  /** The container's, whatever cgroups its processes have made below: a nested one that is frozen stays so when Docker thaws. */
  async cgroup(): Promise<string> {
    return (await this.#inRunc()).cgroup;
  }

  /** What runc will write of its descriptors into a checkpoint, as JSON. */
  async descriptors(): Promise<string> {
    return JSON.stringify((await this.#inRunc()).descriptors);
  }

  /** FREEZE_FAILED if it does not stand still in time. */
  async freeze(): Promise<void> {
    await freezeCgroup(await this.cgroup(), { deadlineMs: FREEZE_DEADLINE_MS });
  }

  /** Behind Docker's back: for a container that Docker does not take for paused. */
  async thaw(): Promise<void> {
    await thawCgroup(await this.cgroup(), { deadlineMs: FREEZE_DEADLINE_MS });
  }

  /** All at once, while frozen: Docker kills the init alone and thaws, and of cgroup v1 the others would run on for a moment. */
  async kill(): Promise<void> {
    if (await this.isRunning()) await killCgroup(await this.cgroup(), { deadlineMs: FREEZE_DEADLINE_MS });
  }

  async #inRunc(): Promise<RuncContainer> {
    const container = await runcContainer(this.#host.config.runcRoot, this.#dockerId);
    if (container === null) throw new DrayError("NOT_FOUND", `runc knows nothing of ${this.#name}`);
    return container;
  }
}
