/** `drayage join`: gets this host its agent certificate for a token. The key is made here and stays here. */
import { hostname } from "node:os";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { createRequest, fingerprintOf } from "@drayage/shared/identity/authority.ts";
import { type Identity, makeIdentity } from "@drayage/shared/identity/identity.ts";
import { makePkiDirectory, pkiFiles, readIfPresent, storeIdentity } from "@drayage/shared/identity/store.ts";
import { type JoinToken, parseToken } from "@drayage/shared/identity/token.ts";
import { requestJoin } from "@drayage/shared/rpc/join.ts";

export interface JoinOptions {
  readonly coordinator: string;
  readonly token: string;
  /** The name that the token must be for; any if not given. */
  readonly node?: string;
  readonly dir: string;
  readonly force: boolean;
}

/** Returns what to tell the operator. ALREADY_EXISTS if this host belongs to another cluster or has another name. */
export async function joinCluster(options: JoinOptions): Promise<string> {
  const token = parseToken(options.token);
  // All that can go wrong here goes wrong before the token is used up.
  await makePkiDirectory(options.dir);
  const present = options.force ? null : await presentIdentity(options, token);
  if (present !== null) return `this host has joined ${present.cluster} as ${present.name} already`;
  const { csrPem, keyPem } = await createRequest();
  const response = await requestJoin({ address: options.coordinator, token, csrPem });
  const identity = makeIdentity({ caPem: response.caPem, certPem: response.certificatePem, keyPem }, "answer", "agent");
  if (options.node !== undefined && identity.name !== options.node) {
    throw new DrayError("BAD_TOKEN", `the token was for node ${identity.name}, not ${options.node}; it is used up`);
  }
  await storeIdentity(options.dir, identity, { overwrite: options.force });
  const hint =
    identity.name === hostname()
      ? ""
      : `\nput "node: ${identity.name}" into /etc/drayage/agent.yaml: this host's own name differs`;
  return `joined ${identity.cluster} as ${identity.name}: ${pkiFiles(options.dir).cert("agent")}${hint}`;
}

async function presentIdentity(options: JoinOptions, token: JoinToken): Promise<Identity | null> {
  const files = pkiFiles(options.dir);
  const [caPem, certPem, keyPem] = await Promise.all(
    [files.caCert, files.cert("agent"), files.key("agent")].map(readIfPresent),
  );
  if (typeof caPem === "string" && !fingerprintOf(caPem).equals(token.fingerprint)) {
    throw new DrayError("ALREADY_EXISTS", `${files.caCert} is of another cluster than the token`);
  }
  if (typeof certPem !== "string" && typeof keyPem !== "string") return null;
  if (typeof caPem !== "string" || typeof certPem !== "string" || typeof keyPem !== "string") {
    throw new DrayError("ALREADY_EXISTS", `${options.dir} holds only a part of an agent's certificate, key and CA`);
  }
  const identity = makeIdentity({ caPem, certPem, keyPem }, options.dir, "agent");
  if (options.node === undefined || options.node === identity.name) return identity;
  throw new DrayError("ALREADY_EXISTS", `this host has joined as ${identity.name}, not ${options.node}`);
}
