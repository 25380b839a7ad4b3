/** Where everything lies in etcd. Nothing else spells a key. */
export const ROOT = "/drayage/v1/";

export const keys = {
  /** NodeRecord, attached to the agent's lease: gone when the node is. */
  node: (node: string) => `${ROOT}nodes/${node}`,
  nodes: () => `${ROOT}nodes/`,
  /** KnownNodeRecord, written by the leader; stays until somebody forgets the node. */
  knownNode: (node: string) => `${ROOT}known-nodes/${node}`,
  knownNodes: () => `${ROOT}known-nodes/`,
  /** InventoryRecord, attached to the agent's lease. */
  inventory: (node: string, dockerId: string) => `${ROOT}inventory/${node}/${dockerId}`,
  inventoryOf: (node: string) => `${ROOT}inventory/${node}/`,
  inventories: () => `${ROOT}inventory/`,
  /** OwnerRecord: the one key that says who may run a container. */
  owner: (uuid: string) => `${ROOT}owners/${uuid}`,
  owners: () => `${ROOT}owners/`,
  /** MigrationRecord. */
  migration: (id: string) => `${ROOT}migrations/${id}`,
  migrations: () => `${ROOT}migrations/`,
  /** Migration id under way for a container; created by the same transaction as the migration. */
  migrationLock: (uuid: string) => `${ROOT}migration-locks/${uuid}`,
  /** Migration id of a client's request_id. */
  request: (requestId: string) => `${ROOT}requests/${requestId}`,
  /** EventRecord; the key ends in a sortable id. */
  event: (id: string) => `${ROOT}events/${id}`,
  events: () => `${ROOT}events/`,
  /** Candidates of the election; the lowest create revision leads. */
  candidate: (coordinator: string) => `${ROOT}election/${coordinator}`,
  election: () => `${ROOT}election/`,
  /** JoinTokenRecord by SHA-256 of the secret. */
  joinToken: (digest: string) => `${ROOT}join-tokens/${digest}`,
} as const;
