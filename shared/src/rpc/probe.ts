/** Finds out why a gRPC connection does not come about, by making the TLS connection beneath it. */
import { type ConnectionOptions, connect as tlsConnect } from "node:tls";
import { splitAddress } from "../config/address.ts";
import { DrayError } from "../errors/dray-error.ts";
import type { ExpectedPeer } from "../identity/identity.ts";
import { tlsFailure } from "../identity/tls-failure.ts";

const PROBE_TIMEOUT_MS = 3_000;

/** The cause as a DrayError of identity, or null if the trouble is not one of certificates. */
export function probe(
  address: string,
  options: ConnectionOptions,
  expected: ExpectedPeer,
  signal?: AbortSignal,
): Promise<DrayError | null> {
  const { host, port } = splitAddress(address);
  const timeout = AbortSignal.timeout(PROBE_TIMEOUT_MS);
  const ends = signal === undefined ? timeout : AbortSignal.any([timeout, signal]);
  return new Promise((resolve) => {
    const socket = tlsConnect({ ...options, host, port, ALPNProtocols: ["h2"] });
    const finish = (result: DrayError | null) => {
      ends.removeEventListener("abort", giveUp);
      socket.destroy();
      resolve(result);
    };
    const giveUp = () => finish(null);
    ends.addEventListener("abort", giveUp, { once: true });
    let established = false;
    socket.once("secureConnect", () => {
      established = true;
    });
    // With TLS 1.3 the server judges our certificate after our side of the handshake is done;
    // its first bytes (HTTP/2 settings) or its alert tell the verdict.
    socket.once("data", () => finish(null));
    socket.once("end", () => finish(established ? rejected(expected) : null));
    socket.once("error", (error: Error) =>
      finish(tlsFailure(error) ?? (established ? rejected(expected, error) : null)),
    );
  });
}

function rejected(expected: ExpectedPeer, cause?: Error): DrayError {
  return new DrayError("UNAUTHENTICATED", `the ${expected.role} closed the connection after seeing our certificate`, {
    remedy: "Check that both certificates come from the same CA: `drayage pki show` on both hosts.",
    cause,
  });
}
