/**
 * The closed set of things that can go wrong, and for each its one mapping to
 * a gRPC status, an exit code of `dray` and a default remedy.
 *
 * Exit codes: 1 failed, 2 usage, 3 not found, 4 precondition, 5 unavailable,
 * 6 failed but the source still runs, 7 outcome unknown, 124 timeout,
 * 130 interrupted. Exit 6 is decided from a migration's outcome, never here.
 */
// Not the whole library, which the threads of lanes would load each for itself.
import { Status as status } from "@grpc/grpc-js/build/src/constants.js";

export interface ReasonMapping {
  readonly grpcStatus: status;
  readonly exitCode: number;
  /** What the operator can do, when the thrower says nothing better. */
  readonly remedy: string;
}

export const REASONS = {
  // What was asked
  BAD_REQUEST: {
    grpcStatus: status.INVALID_ARGUMENT,
    exitCode: 2,
    remedy: "Correct the request; `dray help` shows what is accepted.",
  },
  AMBIGUOUS: { grpcStatus: status.INVALID_ARGUMENT, exitCode: 2, remedy: "Give the id, or more of its digits." },
  NOT_FOUND: {
    grpcStatus: status.NOT_FOUND,
    exitCode: 3,
    remedy: "List what there is with `dray container ls`, `dray node ls` or `dray migration ls`.",
  },
  BAD_CONFIG: {
    grpcStatus: status.FAILED_PRECONDITION,
    exitCode: 2,
    remedy: "Correct the configuration file and start again.",
  },
  // Preconditions
  ALREADY_EXISTS: { grpcStatus: status.ALREADY_EXISTS, exitCode: 4, remedy: "Give --force to replace it." },
  PREFLIGHT: {
    grpcStatus: status.FAILED_PRECONDITION,
    exitCode: 4,
    remedy: "Mend the findings; one that names a flag can be accepted with it.",
  },
  NO_PLACEMENT: {
    grpcStatus: status.FAILED_PRECONDITION,
    exitCode: 4,
    remedy: "Mend the findings for one of the nodes, or leave out a --constraint.",
  },
  ALREADY_MIGRATING: {
    grpcStatus: status.FAILED_PRECONDITION,
    exitCode: 4,
    remedy: "Wait for the migration under way, or cancel it with `dray migration cancel`.",
  },
  TOO_LATE: {
    grpcStatus: status.FAILED_PRECONDITION,
    exitCode: 4,
    remedy: "The container already belongs to the destination; migrate it back instead.",
  },
  PROTOCOL_MISMATCH: {
    grpcStatus: status.FAILED_PRECONDITION,
    exitCode: 4,
    remedy: "Install versions of Drayage that share a protocol version on both sides.",
  },
  // Fencing and ownership
  STALE_TERM: {
    grpcStatus: status.FAILED_PRECONDITION,
    exitCode: 5,
    remedy: "A newer leader gives the orders; nothing to do.",
  },
  NOT_LEADER: { grpcStatus: status.UNAVAILABLE, exitCode: 5, remedy: "Retry; the leader is changing." },
  NO_LEADER: {
    grpcStatus: status.UNAVAILABLE,
    exitCode: 5,
    remedy: "Check that coordinators and etcd are up: `systemctl status drayage-coordinator`.",
  },
  NOT_OWNER: {
    grpcStatus: status.FAILED_PRECONDITION,
    exitCode: 1,
    remedy: "Another node owns the container; see `dray container inspect`.",
  },
  OUTCOME_UNKNOWN: {
    grpcStatus: status.UNKNOWN,
    exitCode: 7,
    remedy:
      "Ask again with `dray migration inspect` when etcd answers; nothing was doubled, a copy of unknown standing stays frozen.",
  },
  // Access
  UNAUTHENTICATED: {
    grpcStatus: status.UNAUTHENTICATED,
    exitCode: 5,
    remedy: "Use a certificate of this cluster; see `drayage join --help`.",
  },
  PERMISSION_DENIED: {
    grpcStatus: status.PERMISSION_DENIED,
    exitCode: 1,
    remedy: "Use a certificate with the role that this call needs.",
  },
  BAD_TOKEN: {
    grpcStatus: status.PERMISSION_DENIED,
    exitCode: 1,
    remedy: "Make a new token with `drayage pki token`; a token serves once and for a limited time.",
  },
  // Parts that do not answer
  ETCD_UNAVAILABLE: {
    grpcStatus: status.UNAVAILABLE,
    exitCode: 5,
    remedy: "Check etcd: `systemctl status etcd`, and the endpoints in the configuration.",
  },
  AGENT_UNAVAILABLE: {
    grpcStatus: status.UNAVAILABLE,
    exitCode: 5,
    remedy: "Check that the node is up, then its agent: `systemctl status drayage-agent` there.",
  },
  PEER_UNAVAILABLE: {
    grpcStatus: status.UNAVAILABLE,
    exitCode: 5,
    remedy: "Check the network between the two nodes, and the destination's agent and its page port; then try again.",
  },
  DOCKER_UNAVAILABLE: {
    grpcStatus: status.UNAVAILABLE,
    exitCode: 5,
    remedy: "Check Docker on that node: `systemctl status docker`.",
  },
  DOCKER_ERROR: {
    grpcStatus: status.INTERNAL,
    exitCode: 1,
    remedy: "Look at Docker's log on that node: `journalctl -u docker`.",
  },
  // The work itself
  CRIU_DUMP_FAILED: {
    grpcStatus: status.ABORTED,
    exitCode: 1,
    remedy: "See the line of CRIU's log above.",
  },
  CRIU_RESTORE_FAILED: {
    grpcStatus: status.ABORTED,
    exitCode: 1,
    remedy: "See the line of CRIU's log above.",
  },
  FREEZE_FAILED: {
    grpcStatus: status.ABORTED,
    exitCode: 1,
    remedy: "A task may hang in uninterruptible sleep: look for state D in `ps` on that node.",
  },
  NETWORK_LOCK_FAILED: {
    grpcStatus: status.ABORTED,
    exitCode: 1,
    remedy: "Check nftables on that node: `nft list ruleset`.",
  },
  CORRUPT_STREAM: {
    grpcStatus: status.DATA_LOSS,
    exitCode: 1,
    remedy: "Data arrived damaged and was thrown away; check the network hardware, then try again.",
  },
  NO_SPACE: {
    grpcStatus: status.RESOURCE_EXHAUSTED,
    exitCode: 1,
    remedy: "Free disk or memory on the node named above.",
  },
  NOT_CONVERGING: {
    grpcStatus: status.ABORTED,
    exitCode: 1,
    remedy:
      "The container changes its memory faster than it can be sent: allow a longer --max-downtime, or give --auto-converge, or --mode hybrid or post-copy.",
  },
  COMMAND_FAILED: { grpcStatus: status.INTERNAL, exitCode: 1, remedy: "See the output above." },
  // Ends
  CANCELLED: { grpcStatus: status.CANCELLED, exitCode: 1, remedy: "Nothing to do; ask again when it is wanted." },
  TIMEOUT: { grpcStatus: status.DEADLINE_EXCEEDED, exitCode: 124, remedy: "Give more time with --timeout." },
  INTERNAL: {
    grpcStatus: status.INTERNAL,
    exitCode: 1,
    remedy: "This is a bug; the log of the part named above has the details.",
  },
} as const satisfies Record<string, ReasonMapping>;

export type Reason = keyof typeof REASONS;

export function isReason(value: string): value is Reason {
  return Object.hasOwn(REASONS, value);
}
