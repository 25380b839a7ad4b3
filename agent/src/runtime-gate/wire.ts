/**
 * What drayage-runc and the agent say to each other (gate.c): one frame each
 * way, a u32 length (little endian) and that many bytes of NUL-terminated fields.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

export const PROTOCOL = "drayage-runc/2";
const MAX_FRAME_BYTES = 1 << 20;
const HEAD_BYTES = 4;

export interface GateRequest {
  readonly verb: "create" | "start";
  readonly dockerId: string;
  /** "<pid>-<start time>" of the drayage-runc that asks. */
  readonly claim: string;
  /** Its arguments without the program. */
  readonly args: readonly string[];
}

export type GateAnswer =
  /** Become this command. */
  | { readonly type: "run"; readonly argv: readonly string[] }
  | { readonly type: "ok" }
  | { readonly type: "fail"; readonly message: string };

export function encodeAnswer(answer: GateAnswer): Buffer {
  switch (answer.type) {
    case "run":
      return encodeFields(["run", ...answer.argv]);
    case "ok":
      return encodeFields(["ok"]);
    case "fail":
      return encodeFields(["fail", answer.message]);
  }
}

function encodeFields(fields: readonly string[]): Buffer {
  const body = Buffer.from([PROTOCOL, ...fields].map((field) => `${field.replaceAll("\0", " ")}\0`).join(""), "utf8");
  if (body.length > MAX_FRAME_BYTES) throw new DrayError("INTERNAL", "answer to drayage-runc is too long");
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(body.length);
  return Buffer.concat([head, body]);
}

/** Collects one frame from a stream. */
export class FrameReader {
  #bytes = Buffer.alloc(0);

  /** The fields once the frame is complete, null before. Throws BAD_REQUEST on what is no frame. */
  push(chunk: Buffer): string[] | null {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    if (this.#bytes.length < HEAD_BYTES) return null;
    const length = this.#bytes.readUInt32LE();
    if (length === 0 || length > MAX_FRAME_BYTES) throw bad(`a frame of ${length} bytes`);
    const end = HEAD_BYTES + length;
    if (this.#bytes.length < end) return null;
    if (this.#bytes.length > end) throw bad("more than one frame");
    if (this.#bytes[end - 1] !== 0) throw bad("a field without end");
    return this.#bytes.toString("utf8", HEAD_BYTES, end - 1).split("\0");
  }
}

/** Throws DrayError BAD_REQUEST. */
export function parseRequest(fields: readonly string[]): GateRequest {
  const [protocol, verb, dockerId, claim, ...args] = fields;
  if (protocol !== PROTOCOL) throw bad(`protocol ${JSON.stringify(protocol)}`);
  if (verb !== "create" && verb !== "start") throw bad(`verb ${JSON.stringify(verb)}`);
  if (dockerId === undefined || !/^[0-9a-f]{64}$/.test(dockerId)) throw bad("no container id");
  if (claim === undefined || !/^[0-9]+-[0-9]+$/.test(claim)) throw bad("no claim");
  return { verb, dockerId, claim, args };
}

function bad(what: string): DrayError {
  return new DrayError("BAD_REQUEST", `drayage-runc sent ${what}`, {
    remedy: "Agent and drayage-runc must be of one version: reinstall the package.",
  });
}
