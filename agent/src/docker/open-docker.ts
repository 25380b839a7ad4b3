/** The Docker port over dockerode. */
import type { Readable } from "node:stream";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { CallOptions, DockerPort } from "./docker-port.ts";
import { followEvents } from "./events.ts";
import { readLoadAnswer } from "./load-answer.ts";
import { type DockerRequest, Transport } from "./transport.ts";
import type { ContainerInspect, ExecInspect } from "./types.ts";

/** Opens nothing yet: each call connects by itself. `socketPath` is /var/run/docker.sock as a rule. */
export function openDocker(options: { readonly socketPath: string }): DockerPort {
  const transport = new Transport(options.socketPath);

  /** Docker's answers are taken at their word: the version of the API is fixed. */
  async function ask<Answer>(request: DockerRequest, call: CallOptions | undefined): Promise<Answer> {
    return (await transport.json(request, call)) as Answer;
  }

  function get<Answer>(
    path: string,
    operation: string,
    call: CallOptions | undefined,
    query?: Readonly<Record<string, string>>,
  ): Promise<Answer> {
    return ask<Answer>({ method: "GET", path, operation, ...(query === undefined ? {} : { query }) }, call);
  }

  /** An act on a container; 304 means that it is so already. */
  async function act(
    id: string,
    verb: string,
    call: CallOptions | undefined,
    more: Pick<DockerRequest, "query" | "body" | "deadline"> = {},
  ): Promise<void> {
    await ask(
      {
        method: "POST",
        path: `/containers/${encodeURIComponent(id)}/${verb}`,
        operation: `${verb} container ${shortId(id)}`,
        accept: [200, 201, 204, 304],
        ...more,
      },
      call,
    );
  }

  const port: DockerPort = {
    async ping(call) {
      await get("/_ping", "ping", call);
    },
    version: (call) => get("/version", "version", call),
    info: (call) => get("/info", "info", call),

    inspectContainer: (id, call) =>
      get(
        `/containers/${encodeURIComponent(id)}/json`,
        `inspect container ${shortId(id)}`,
        call,
        call?.size === true ? { size: "true" } : {},
      ),
    listContainers: (call) =>
      get("/containers/json", "list containers", call, {
        all: call?.runningOnly === true ? "false" : "true",
        ...(call?.filters === undefined ? {} : { filters: JSON.stringify(call.filters) }),
      }),
    events: (filters, signal) => followEvents(transport, filters, signal),

    async createContainer(request, call) {
      const answer = await ask<{ Id: string; Warnings?: readonly string[] | null }>(
        {
          method: "POST",
          path: "/containers/create",
          query: { name: request.name },
          body: request.body,
          operation: `create container ${request.name}`,
        },
        call,
      );
      return { id: answer.Id, warnings: answer.Warnings ?? [] };
    },
    startContainer: (id, call) => act(id, "start", call, { deadline: "none" }),
    pauseContainer: (id, call) => act(id, "pause", call),
    unpauseContainer: (id, call) => act(id, "unpause", call),
    killContainer: (id, call) => act(id, "kill", call, { query: { signal: call?.signalName ?? "SIGKILL" } }),
    async stopContainer(id, call) {
      const graceSeconds = call?.graceSeconds ?? 10;
      await act(
        id,
        "stop",
        { signal: call?.signal, deadlineMs: call?.deadlineMs ?? (graceSeconds + 30) * 1000 },
        { query: { t: String(graceSeconds) } },
      );
    },
    async removeContainer(id, call) {
      try {
        await ask(
          {
            method: "DELETE",
            path: `/containers/${encodeURIComponent(id)}`,
            query: { force: String(call?.force ?? false), v: String(call?.volumes ?? false) },
            operation: `remove container ${shortId(id)}`,
          },
          call,
        );
      } catch (error) {
        if (!(error instanceof DrayError && error.reason === "NOT_FOUND")) throw error;
      }
    },
    async waitContainer(id, call) {
      const answer = await ask<{ StatusCode: number }>(
        {
          method: "POST",
          path: `/containers/${encodeURIComponent(id)}/wait`,
          operation: `wait for container ${shortId(id)}`,
          deadline: "none",
        },
        call,
      );
      return answer.StatusCode;
    },
    updateRestartPolicy: (id, policy, call) =>
      act(id, "update", call, {
        body: { RestartPolicy: { Name: policy.Name, MaximumRetryCount: policy.MaximumRetryCount ?? 0 } },
      }),
    renameContainer: (id, name, call) => act(id, "rename", call, { query: { name } }),
    async runningExecs(id, call) {
      const inspect = await port.inspectContainer(id, call);
      return runningOf(inspect, call);
    },

    // The list leaves out what the inspection has (Containers), so it only names.
    listNetworks: (call) => get("/networks", "list networks", call),
    inspectNetwork: (network, call) =>
      get(`/networks/${encodeURIComponent(network)}`, `inspect network ${network}`, call),
    async connectNetwork(network, container, endpoint, call) {
      await ask(
        {
          method: "POST",
          path: `/networks/${encodeURIComponent(network)}/connect`,
          body: { Container: container, EndpointConfig: endpoint },
          operation: `connect ${shortId(container)} to network ${network}`,
        },
        call,
      );
    },
    async disconnectNetwork(network, container, call) {
      await ask(
        {
          method: "POST",
          path: `/networks/${encodeURIComponent(network)}/disconnect`,
          body: { Container: container, Force: call?.force ?? false },
          operation: `disconnect ${shortId(container)} from network ${network}`,
        },
        call,
      );
    },

    inspectImage: (reference, call) => get(`/images/${imagePath(reference)}/json`, `inspect image ${reference}`, call),
    listImages: (call) => get("/images/json", "list images", call, { all: "true" }),
    saveImages: (references, call) =>
      transport.stream(
        {
          method: "GET",
          // The modem encodes repeated names itself only as an array; one address is plainer.
          path: `/images/get?${references.map((name) => `names=${encodeURIComponent(name)}`).join("&")}&x=`,
          operation: `save image ${references.join(", ")}`,
        },
        { deadlineMs: 600_000, ...call },
      ),
    async loadImages(tar, call) {
      const stream: Readable = await transport.stream(
        { method: "POST", path: "/images/load", query: { quiet: "true" }, body: tar, operation: "load image" },
        { deadlineMs: 3_600_000, ...call },
      );
      return readLoadAnswer(stream);
    },
    async tagImage(reference, repository, tag, call) {
      await ask(
        {
          method: "POST",
          path: `/images/${imagePath(reference)}/tag`,
          query: { repo: repository, tag },
          operation: `tag image ${reference} as ${repository}:${tag}`,
        },
        call,
      );
    },
    async removeImage(reference, call) {
      await ask(
        { method: "DELETE", path: `/images/${imagePath(reference)}`, operation: `remove image ${reference}` },
        call,
      );
    },

    inspectVolume: (name, call) => get(`/volumes/${encodeURIComponent(name)}`, `inspect volume ${name}`, call),
  };

  async function runningOf(inspect: ContainerInspect, call: CallOptions | undefined): Promise<readonly ExecInspect[]> {
    const execs: ExecInspect[] = [];
    for (const id of inspect.ExecIDs ?? []) {
      try {
        const exec = await get<ExecInspect>(
          `/exec/${encodeURIComponent(id)}/json`,
          `inspect exec ${shortId(id)}`,
          call,
        );
        if (exec.Running) execs.push(exec);
      } catch (error) {
        // It ended between the two questions.
        if (!(error instanceof DrayError && error.reason === "NOT_FOUND")) throw error;
      }
    }
    return execs;
  }

  return port;
}

function shortId(id: string): string {
  return /^[0-9a-f]{64}$/.test(id) ? id.slice(0, 12) : id;
}

/** Docker's router takes the slashes of an image name as they are. */
function imagePath(reference: string): string {
  return reference.split("/").map(encodeURIComponent).join("/");
}
