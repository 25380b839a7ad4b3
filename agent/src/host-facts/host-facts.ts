import type { HostFacts } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { DockerPort } from "../docker/docker-port.ts";

export interface HostState {
  readonly facts: HostFacts;
  readonly memoryTotalBytes: number;
  readonly memoryAvailableBytes: number;
  readonly cpus: number;
}

export interface HostFactsSource {
  /** Facts are kept; memory is read anew each time. `refresh` gathers all anew. */
  current(options?: { readonly refresh?: boolean; readonly signal?: AbortSignal | undefined }): Promise<HostState>;
}

export declare function openHostFacts(options: { readonly docker: DockerPort; readonly drayageVersion: string }): HostFactsSource;
