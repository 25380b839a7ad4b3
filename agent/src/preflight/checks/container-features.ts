/** What a container was given that ties it to its host, or a state in which it cannot be dumped. */
import { isDeepStrictEqual } from "node:util";
import type { ContainerInspect, ExecInspect, Json } from "../../docker/types.ts";
import { type Check, when } from "../check.ts";
import type { SourceFacts } from "../source-facts.ts";

const OWN_NAMESPACE = "Start the container with a namespace of its own.";

const text = (value: Json | undefined): string => (typeof value === "string" ? value : "");
const isList = (value: Json | undefined): value is readonly Json[] => Array.isArray(value) && value.length > 0;

export const CONTAINER_FEATURE_CHECKS: readonly Check<SourceFacts>[] = [
  {
    code: "not-running",
    severity: "blocking",
    find: ({ inspect: { State } }) =>
      when(
        !State.Running && !State.Restarting,
        `The container does not run: its state is ${State.Status}.`,
        "Start it; a container that does not run has no memory to move.",
      ),
  },
  {
    code: "paused",
    severity: "blocking",
    find: ({ inspect }) => when(inspect.State.Paused, "The container is paused.", "Unpause it with `docker unpause`."),
  },
  {
    code: "restarting",
    severity: "blocking",
    find: ({ inspect }) =>
      when(
        inspect.State.Restarting,
        "The container is restarting again and again.",
        "Look why it ends with `docker logs`; migrate it when it runs.",
      ),
  },
  {
    code: "privileged",
    severity: "blocking",
    find: ({ inspect }) =>
      when(
        inspect.HostConfig.Privileged === true,
        "The container is privileged: it may hold devices and mounts of this host.",
        "Give it the capabilities it needs with --cap-add instead of --privileged.",
      ),
  },
  {
    code: "host-network",
    severity: "blocking",
    find: ({ inspect }) =>
      when(
        inspect.HostConfig.NetworkMode === "host",
        "The container uses the network of its host, whose addresses stay behind.",
        "Attach it to a network, best a macvlan network that both hosts have.",
      ),
  },
  {
    code: "host-pid",
    severity: "blocking",
    find: ({ inspect }) =>
      when(inspect.HostConfig.PidMode === "host", "The container shares the host's process ids.", OWN_NAMESPACE),
  },
  {
    code: "host-ipc",
    severity: "blocking",
    find: ({ inspect }) =>
      when(inspect.HostConfig.IpcMode === "host", "The container shares the host's IPC objects.", OWN_NAMESPACE),
  },
  {
    code: "shareable-ipc",
    severity: "blocking",
    find: ({ inspect }) =>
      when(
        inspect.HostConfig.IpcMode === "shareable",
        "The container's IPC is shareable: its /dev/shm is a directory of this host's Docker, and the copy's would be empty.",
        "Start it with --ipc=private, Docker's default.",
      ),
  },
  {
    code: "host-uts",
    severity: "blocking",
    find: ({ inspect }) =>
      when(inspect.HostConfig.UTSMode === "host", "The container shares the host's name.", OWN_NAMESPACE),
  },
  {
    code: "joined-namespace",
    severity: "blocking",
    find: ({ inspect }) =>
      ["NetworkMode", "PidMode", "IpcMode", "Cgroup"]
        .filter((key) => text(inspect.HostConfig[key]).startsWith("container:"))
        .map((key) => ({
          message: `The container shares a namespace with another: ${key} is ${text(inspect.HostConfig[key])}.`,
          remedy: OWN_NAMESPACE,
        })),
  },
  {
    code: "devices",
    severity: "blocking",
    find: ({ inspect: { HostConfig } }) => {
      const devices = isList(HostConfig.Devices) ? HostConfig.Devices.map((device) => JSON.stringify(device)) : [];
      const rules = isList(HostConfig.DeviceCgroupRules) ? HostConfig.DeviceCgroupRules.map(String) : [];
      return when(
        devices.length + rules.length > 0,
        `The container has devices of this host: ${[...devices, ...rules].join(", ")}.`,
        "Start it without --device; the state of a device cannot be moved.",
      );
    },
  },
  {
    code: "gpus",
    severity: "blocking",
    find: ({ inspect: { HostConfig } }) =>
      when(
        isList(HostConfig.DeviceRequests),
        `The container uses GPUs or the like: ${JSON.stringify(HostConfig.DeviceRequests)}.`,
        "Start it without --gpus; the memory of a GPU cannot be moved.",
      ),
  },
  {
    code: "swarm-task",
    severity: "blocking",
    find: ({ inspect }) => {
      const labels = (inspect.Config.Labels ?? {}) as Readonly<Record<string, string>>;
      const service = labels["com.docker.swarm.service.name"];
      return when(
        labels["com.docker.swarm.task.id"] !== undefined,
        `The container is a task of the Swarm service ${service ?? "?"}, which would start another one in its place.`,
        "Run it as a container of its own.",
      );
    },
  },
  {
    code: "exec-sessions",
    severity: "blocking",
    find: ({ execs, inspect }) =>
      execs
        .filter((exec) => !isHealthProbe(exec, inspect))
        .map(({ ID, ProcessConfig }) => ({
          message: `An exec session is open: ${commandOf(ProcessConfig)} (${ID.slice(0, 12)}).`,
          remedy: "End the `docker exec` session; it cannot be moved.",
        })),
  },
];

/** Docker runs health checks as exec sessions of its own; they end by themselves. */
function isHealthProbe({ ProcessConfig }: ExecInspect, { Config }: ContainerInspect): boolean {
  const healthcheck = (Config.Healthcheck ?? {}) as { readonly Test?: readonly string[] };
  const [kind, ...test] = healthcheck.Test ?? [];
  if (ProcessConfig === undefined) return false;
  const argv = [ProcessConfig.entrypoint, ...(ProcessConfig.arguments ?? [])];
  if (kind === "CMD-SHELL") return argv.at(-1) === test[0];
  return kind === "CMD" && isDeepStrictEqual(argv, test);
}

function commandOf(config: { entrypoint: string; arguments?: readonly string[] | null } | undefined): string {
  return config === undefined ? "unknown command" : [config.entrypoint, ...(config.arguments ?? [])].join(" ");
}
