/**
 * Feeds a server its certificate, and a new one while it runs.
 *
 * A listener hears the present certificate a microtask after it was added:
 * grpc-js connects it to the listening socket only after adding it here, and
 * would lose an answer given at once.
 */
import type { experimental } from "@grpc/grpc-js";
import type { Identity } from "../identity/identity.ts";

export class IdentityProvider implements experimental.CertificateProvider {
  #identity: Identity;
  readonly #caListeners = new Set<experimental.CaCertificateUpdateListener>();
  readonly #identityListeners = new Set<experimental.IdentityCertificateUpdateListener>();

  constructor(identity: Identity) {
    this.#identity = identity;
  }

  update(identity: Identity): void {
    this.#identity = identity;
    for (const listener of this.#caListeners) listener(this.#ca());
    for (const listener of this.#identityListeners) listener(this.#certificate());
  }

  addCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#caListeners.add(listener);
    queueMicrotask(() => listener(this.#ca()));
  }

  removeCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#caListeners.delete(listener);
  }

  addIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.add(listener);
    queueMicrotask(() => listener(this.#certificate()));
  }

  removeIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.delete(listener);
  }

  #ca(): experimental.CaCertificateUpdate {
    return { caCertificate: Buffer.from(this.#identity.caPem) };
  }

  #certificate(): experimental.IdentityCertificateUpdate {
    // The chain includes the CA: a newcomer that knows its fingerprint gets it from here.
    const chain = `${this.#identity.certPem.trimEnd()}\n${this.#identity.caPem}`;
    return { certificate: Buffer.from(chain), privateKey: Buffer.from(this.#identity.keyPem) };
  }
}
