/** Deadlines, errors and reconnection against a server that misbehaves on purpose; real Docker is tested apart. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { DockerNotice, DockerPort } from "./docker-port.ts";
import { openDocker } from "./open-docker.ts";
import { isBeingStarted } from "./start-under-way.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

let directory = "";
let server: Server;
let handler: Handler = (_, response) => response.end();
let docker: DockerPort;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "drayage-docker-"));
  const socketPath = join(directory, "docker.sock");
  server = createServer((request, response) => handler(request, response));
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  docker = openDocker({ socketPath });
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(directory, { recursive: true });
});

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

describe("what goes wrong has a reason", () => {
  test.each([
    [404, "No such container: x", "NOT_FOUND"],
    [409, "Conflict. The name is in use", "DOCKER_ERROR"],
    [500, "driver failed", "DOCKER_ERROR"],
  ])("%i", async (status, message, reason) => {
    handler = (_, response) => answer(response, status, { message });
    await expect(docker.inspectContainer("x")).rejects.toMatchObject({
      reason,
      message: expect.stringContaining(message),
    });
  });

  test("no Docker", async () => {
    const absent = openDocker({ socketPath: join(directory, "absent.sock") });
    await expect(absent.ping()).rejects.toMatchObject({ reason: "DOCKER_UNAVAILABLE" });
  });

  test("no answer within the deadline", async () => {
    handler = () => undefined;
    await expect(docker.ping({ deadlineMs: 20 })).rejects.toMatchObject({ reason: "TIMEOUT" });
  });

  test("half an answer within the deadline", async () => {
    handler = (_, response) => response.writeHead(200).write("{");
    await expect(docker.info({ deadlineMs: 20 })).rejects.toMatchObject({ reason: "TIMEOUT" });
  });

  test("the caller's signal", async () => {
    handler = () => undefined;
    const controller = new AbortController();
    const started = docker.startContainer("x", { signal: controller.signal });
    controller.abort();
    await expect(started).rejects.toMatchObject({ reason: "CANCELLED" });
  });

  test("a removal of what is gone is done", async () => {
    handler = (_, response) => answer(response, 404, { message: "No such container: x" });
    await docker.removeContainer("x", { force: true });
  });

  test("an act that is done already is done", async () => {
    handler = (_, response) => response.writeHead(304).end();
    await docker.startContainer("x");
  });
});

describe("what is sent", () => {
  test("a start has no body, a creation all of its own", async () => {
    const seen: string[] = [];
    handler = (request, response) => {
      void text(request).then((body) => {
        seen.push(`${request.method} ${request.url} ${body}`);
        answer(response, 201, { Id: "new", Warnings: null });
      });
    };
    await docker.startContainer("x");
    const created = await docker.createContainer({ name: "a b", body: { Image: "i", _query: 1 } });
    expect(created).toEqual({ id: "new", warnings: [] });
    expect(seen).toEqual([
      "POST /v1.44/containers/x/start? ",
      'POST /v1.44/containers/create?name=a%20b {"Image":"i","_query":1}',
    ]);
  });
});

describe("image streams", () => {
  test("a load that fails in the stream of messages fails", async () => {
    handler = (request, response) => {
      request.resume().on("end", () => response.end('{"stream":"Loading"}\n{"error":"no space left on device"}\n'));
    };
    await expect(docker.loadImages(Readable.from([Buffer.from("tar")]))).rejects.toMatchObject({ reason: "NO_SPACE" });
  });

  test("what is saved comes as it is", async () => {
    handler = (request, response) => response.end(request.url);
    const stream = await docker.saveImages(["sha256:1", "b:2"]);
    expect(await text(stream)).toContain("names=sha256%3A1&names=b%3A2");
  });
});

test("events go on after the connection was lost, with a resync", async () => {
  let connections = 0;
  handler = (_, response) => {
    connections += 1;
    const event = JSON.stringify({
      Type: "container",
      Action: `start ${connections}`,
      Actor: { ID: "", Attributes: {} },
    });
    response.writeHead(200).write(`${event.slice(0, 10)}`);
    setImmediate(() => {
      response.write(`${event.slice(10)}\n`);
      if (connections === 1) setImmediate(() => response.destroy());
    });
  };
  const controller = new AbortController();
  const seen: (string | DockerNotice["kind"])[] = [];
  for await (const notice of docker.events({ type: ["container"] }, controller.signal)) {
    seen.push(notice.kind === "event" ? notice.event.Action : notice.kind);
    if (seen.length === 4) controller.abort();
  }
  expect(seen).toEqual(["resync", "start 1", "resync", "start 2"]);
});

describe("a start that is under way", () => {
  const inspection = (onInspect: Handler): Handler => {
    return (request, response) =>
      request.url?.includes("/info") === true ? answer(response, 200, {}) : onInspect(request, response);
  };

  test("holds every inspection of the container back", async () => {
    handler = inspection(() => undefined);
    expect(await isBeingStarted(docker, "abc", 20)).toBe(true);
  });

  test("is over when the inspection is answered, or the container is gone", async () => {
    handler = inspection((_, response) => answer(response, 200, { Id: "abc" }));
    expect(await isBeingStarted(docker, "abc")).toBe(false);
    handler = inspection((_, response) => answer(response, 404, { message: "No such container: abc" }));
    expect(await isBeingStarted(docker, "abc")).toBe(false);
  });

  test("is not concluded from a Docker that does not work", async () => {
    handler = (_, response) => answer(response, 500, { message: "broken" });
    await expect(isBeingStarted(docker, "abc")).rejects.toMatchObject({ reason: "DOCKER_ERROR" });
  });
});
