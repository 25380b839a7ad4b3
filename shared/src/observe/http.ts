/** /metrics, /healthz and /readyz, for the loopback interface: there is no authentication. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Registry } from "prom-client";
import { splitAddress } from "../config/address.ts";
import { DrayError } from "../errors/dray-error.ts";
import type { Logger } from "./logger.ts";
import { evaluateReadiness, type ReadinessCheck } from "./readiness.ts";

export interface HttpEndpointOptions {
  /** "host:port"; port 0 lets the kernel choose. */
  readonly address: string;
  readonly registry: Registry;
  readonly readiness: Readonly<Record<string, ReadinessCheck>>;
  readonly logger: Logger;
}

export interface HttpEndpoint {
  readonly port: number;
  close(): Promise<void>;
}

const REQUEST_TIMEOUT_MS = 10_000;

/** BAD_CONFIG if the address cannot be had. */
export async function serveHttp(options: HttpEndpointOptions): Promise<HttpEndpoint> {
  const { host, port } = splitAddress(options.address);
  const server = createServer((request, response) => {
    answer(request, response, options).catch((error: unknown) => {
      options.logger.error({ err: error, path: request.url }, "HTTP request failed");
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => {
      reject(new DrayError("BAD_CONFIG", `cannot listen on ${options.address}: ${error.message}`, { cause: error }));
    });
    server.listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, options: HttpEndpointOptions): Promise<void> {
  if (request.method !== "GET" && request.method !== "HEAD")
    return send(response, 405, "text/plain", "method not allowed\n");
  switch ((request.url ?? "").split("?")[0]) {
    case "/metrics":
      return send(response, 200, options.registry.contentType, await options.registry.metrics());
    case "/healthz":
      return send(response, 200, "text/plain", "ok\n");
    case "/readyz": {
      const readiness = evaluateReadiness(options.readiness);
      return send(response, readiness.ready ? 200 : 503, "application/json", `${JSON.stringify(readiness)}\n`);
    }
    default:
      return send(response, 404, "text/plain", "not found\n");
  }
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) });
  response.end(body);
}
