import type { DockerPort } from "./docker-port.ts";

/** Opens nothing yet: each call connects by itself. `socketPath` is /var/run/docker.sock as a rule. */
export declare function openDocker(options: { readonly socketPath: string }): DockerPort;
