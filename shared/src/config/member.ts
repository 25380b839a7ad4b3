/** A member's identity as its configuration names it. */
import { DrayError } from "../errors/dray-error.ts";
import { type Identity, loadIdentity, type Role } from "../identity/identity.ts";

/** Loads the identity and checks that it is of the configured cluster and name. BAD_CONFIG otherwise. */
export async function loadMemberIdentity(
  config: { readonly pkiDirectory: string; readonly cluster?: string | undefined },
  role: Role,
  name: string,
): Promise<Identity> {
  const identity = await loadIdentity(config.pkiDirectory, role);
  if (config.cluster !== undefined && config.cluster !== identity.cluster) {
    throw misfit(config.pkiDirectory, role, `cluster ${identity.cluster}`, config.cluster);
  }
  if (name !== identity.name) throw misfit(config.pkiDirectory, role, identity.name, name);
  return identity;
}

function misfit(directory: string, role: Role, found: string, configured: string): DrayError {
  return new DrayError("BAD_CONFIG", `${directory}/${role}.crt is for ${found}, the configuration says ${configured}`, {
    remedy: "Correct the configuration, or issue a certificate that fits with `drayage pki issue` or `drayage join`.",
  });
}
