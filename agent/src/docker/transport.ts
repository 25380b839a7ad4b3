/** One request to Docker Engine through dockerode's modem: deadline, signal, errors. */
import type { Readable } from "node:stream";
import Docker from "dockerode";
import { dockerError } from "./errors.ts";
import type { CallOptions } from "./docker-port.ts";
import type { JsonObject } from "./types.ts";

/**
 * The API version that all requests are made in, so that a description made on one host and a container created on
 * another speak the same language. The oldest that Docker 29 still accepts; Docker 25 and newer have it.
 */
export const API_VERSION = "1.44";

const DEFAULT_DEADLINE_MS = 30_000;

export interface DockerRequest {
  readonly method: "GET" | "POST" | "DELETE";
  /** With leading slash, without version and query. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: JsonObject | Readable;
  /** For messages. */
  readonly operation: string;
  /** HTTP codes that mean success; 200, 201, 204 if not given. */
  readonly accept?: readonly number[];
  /** "none" for requests that end by signal alone. */
  readonly deadline?: "default" | "none";
}

type Dial = (
  options: Readonly<Record<string, unknown>>,
  callback: (error: Error | null, data: unknown) => void,
) => void;

export class Transport {
  readonly #dial: Dial;

  constructor(socketPath: string) {
    // The published types leave out `dial`, on which all of dockerode stands.
    const modem = new Docker({ socketPath, version: `v${API_VERSION}` }).modem as unknown as { dial: Dial };
    this.#dial = modem.dial.bind(modem);
  }

  /** The answer, parsed. */
  async json(request: DockerRequest, options: CallOptions = {}): Promise<unknown> {
    const deadlineMs = options.deadlineMs ?? (request.deadline === "none" ? undefined : DEFAULT_DEADLINE_MS);
    const deadline = deadlineMs === undefined ? undefined : AbortSignal.timeout(deadlineMs);
    return this.#send(request, false, deadline, options.signal);
  }

  /** The answer as it comes; the signal ends it. The deadline covers the head of the answer alone. */
  async stream(request: DockerRequest, options: CallOptions = {}): Promise<Readable> {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), options.deadlineMs ?? DEFAULT_DEADLINE_MS);
    try {
      return (await this.#send(request, true, controller.signal, options.signal)) as Readable;
    } finally {
      clearTimeout(timer);
    }
  }

  async #send(
    request: DockerRequest,
    isStream: boolean,
    deadline: AbortSignal | undefined,
    caller: AbortSignal | undefined,
  ): Promise<unknown> {
    const signals = [deadline, caller].filter((signal) => signal !== undefined);
    const signal = signals.length === 0 ? undefined : AbortSignal.any(signals);
    if (signal?.aborted === true) throw dockerError(signal.reason, request.operation, deadline, caller);
    const upload = request.body !== undefined && isReadable(request.body);
    try {
      return await new Promise((resolve, reject) => {
        this.#dial(
          {
            path: `${request.path}?`,
            method: request.method,
            // An empty _query keeps the modem from putting the body's fields into the address.
            options: { _query: request.query ?? {}, _body: upload ? {} : (request.body ?? {}) },
            ...(upload ? { file: request.body } : {}),
            isStream,
            ...(signal === undefined ? {} : { abortSignal: signal }),
            statusCodes: Object.fromEntries((request.accept ?? [200, 201, 204]).map((code) => [code, true])),
          },
          (error, data) => (error === null || error === undefined ? resolve(data) : reject(error)),
        );
      });
    } catch (thrown) {
      throw dockerError(thrown, request.operation, deadline, caller);
    }
  }
}

function isReadable(body: JsonObject | Readable): body is Readable {
  return typeof (body as Partial<Readable>).pipe === "function";
}
