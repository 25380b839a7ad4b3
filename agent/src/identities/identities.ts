export interface Identities {
  /** The container's UUID; made and stored durably at first sight. */
  identityOf(dockerId: string): Promise<string>;
  /** The UUID if this host has one for the container. */
  find(dockerId: string): Promise<string | undefined>;
  /** Docker id by UUID, if known here. */
  dockerIdOf(uuid: string): Promise<string | undefined>;
  /** Gives a container that came here the UUID that it had; durable when this resolves. */
  adopt(dockerId: string, uuid: string): Promise<void>;
  forget(dockerId: string): Promise<void>;
  /** All that is stored: UUID by Docker id. */
  all(): Promise<ReadonlyMap<string, string>>;
}

/** `directory` is `<stateDirectory>/identities`; made if missing. */
export declare function openIdentities(directory: string): Promise<Identities>;
