/**
 * From what `docker inspect` says of a container on the source to the request that creates its copy. Pure.
 *
 * Everything is carried word for word and explicitly, also what Docker would fill in by itself: the defaults of the
 * other host's Docker may be others, and the restored processes expect exactly what they had (CRIU maps mounts one to
 * one, so even the masked paths matter).
 */
import type { SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { blocking, type Finding, needsFlag } from "../preflight/finding.ts";
import { carryEndpoints, carryPorts, networkMode } from "./carry-networks.ts";
import { KNOWN_CONFIG, KNOWN_HOST_CONFIG } from "./known-settings.ts";
import { restartPolicyOf } from "./restart-policy.ts";
import type { ContainerInspect, CreateRequest, Json, JsonObject, NetworkInspect, RestartPolicy } from "./types.ts";

/** The name under which packages register drayage-runc with Docker. */
export const DRAYAGE_RUNTIME = "drayage";

/** The policy of the copy until the migration is finished: Docker must not start it by itself. */
export const NO_RESTART: RestartPolicy = { Name: "no", MaximumRetryCount: 0 };

export interface CarriedConfiguration {
  /** Creates the copy: runtime `drayage`, restart policy `no`. */
  readonly request: CreateRequest;
  /** The policy the copy gets when the migration is finished. */
  readonly restartPolicy: RestartPolicy;
  /** What cannot be carried, or is not known to mean the same elsewhere. */
  readonly findings: readonly Finding[];
}

export interface CarryOptions {
  /** How the destination's Docker knows the image. */
  readonly image: string;
  /** The networks that the container is attached to, as the source's Docker describes them. */
  readonly networks: readonly NetworkInspect[];
  readonly runtime?: string;
  /** Another name than the source's, without slash. */
  readonly name?: string;
}

export function carryConfiguration(inspect: ContainerInspect, options: CarryOptions): CarriedConfiguration {
  const endpoints = carryEndpoints(inspect, options.networks);
  const request: CreateRequest = {
    name: options.name ?? inspect.Name.replace(/^\//, ""),
    body: {
      ...carryConfig(inspect.Config, options.image),
      HostConfig: carryHostConfig(inspect, options.runtime ?? DRAYAGE_RUNTIME),
      NetworkingConfig: { EndpointsConfig: endpoints },
    },
  };
  return { request, restartPolicy: restartPolicyOf(inspect), findings: findingsOf(inspect) };
}

/** The same from a description as it travels between agents. */
export function carryDescription(
  description: SourceDescription,
  options: Omit<CarryOptions, "networks">,
): CarriedConfiguration {
  const { inspect, networks } = parseDescription(description);
  return carryConfiguration(inspect, { ...options, networks });
}

/** What the JSON fields of a description hold; both were written by an agent from Docker's answers. */
export function parseDescription(description: SourceDescription): {
  readonly inspect: ContainerInspect;
  readonly networks: readonly NetworkInspect[];
} {
  return {
    inspect: JSON.parse(description.inspectJson) as ContainerInspect,
    networks: JSON.parse(description.networksJson === "" ? "[]" : description.networksJson) as NetworkInspect[],
  };
}

function carryConfig(config: JsonObject, image: string): JsonObject {
  // The deprecated field says what the endpoint says too.
  const { MacAddress: _, ...rest } = config;
  return {
    ...rest,
    Image: image,
    // Without an entry point Docker takes that of the image; one empty word means none.
    Entrypoint: isEmpty(config.Entrypoint) ? [""] : (config.Entrypoint ?? null),
  };
}

function carryHostConfig(inspect: ContainerInspect, runtime: string): JsonObject {
  return {
    ...inspect.HostConfig,
    NetworkMode: networkMode(inspect),
    PortBindings: carryPorts(inspect),
    RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
    AutoRemove: false,
    ContainerIDFile: "",
    // Docker shows null or false for the same, depending on whether the container has started.
    OomKillDisable: inspect.HostConfig.OomKillDisable === true ? true : null,
    Runtime: runtime,
  };
}

function findingsOf(inspect: ContainerInspect): Finding[] {
  const findings: Finding[] = [];
  if (inspect.HostConfig.AutoRemove === true) {
    findings.push(
      blocking("auto-remove", {
        message: "The container was started with --rm: Docker would remove it, and what it wrote, at the switch.",
        remedy: "Start the container without --rm.",
      }),
    );
  }
  if (!isEmpty(inspect.HostConfig.Links)) {
    findings.push(
      blocking("legacy-links", {
        message: "The container has legacy links (--link), which hold only among containers of one host.",
        remedy: "Connect the containers by a network and use its names.",
      }),
    );
  }
  if (!isEmpty(inspect.HostConfig.VolumesFrom)) {
    findings.push(
      blocking("volumes-from", {
        message: "The container takes its volumes from another container (--volumes-from).",
        remedy: "Name the volumes with -v instead.",
      }),
    );
  }
  const unknown = [
    ...unknownSettings("HostConfig", inspect.HostConfig, KNOWN_HOST_CONFIG),
    ...unknownSettings("Config", inspect.Config, KNOWN_CONFIG),
  ];
  for (const setting of unknown) {
    findings.push(
      needsFlag("unknown-setting", "--allow-unknown-settings", {
        message: `The container has the setting ${setting}, which this version of Drayage does not know.`,
        remedy:
          "Check that it means the same on the destination, then give --allow-unknown-settings; it is carried as it is.",
      }),
    );
  }
  return findings;
}

function unknownSettings(where: string, settings: JsonObject, known: ReadonlySet<string>): string[] {
  return Object.entries(settings)
    .filter(([key, value]) => !known.has(key) && !isEmpty(value))
    .map(([key, value]) => `${where}.${key} = ${JSON.stringify(value)}`);
}

/** What Docker shows for a setting that nobody set. */
function isEmpty(value: Json | undefined): boolean {
  if (value === undefined || value === null || value === false || value === 0 || value === "") return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}
