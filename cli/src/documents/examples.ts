/** One document of each kind, with everything in it that may be absent: which fields `--format` may name. */
import { Container, Event, Node, NodeVerdict } from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import { Migration } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { containerDocument, eventDocument, nodeDocument, verdictDocument } from "./cluster-documents.ts";
import { migrationDocument } from "./migration-document.ts";

export const EXAMPLES = {
  node: nodeDocument(Node.fromPartial({ host: {} })),
  container: containerDocument(Container.create()),
  verdict: verdictDocument(NodeVerdict.fromPartial({ findings: [{}] })),
  event: eventDocument(Event.create()),
  migration: {
    ...migrationDocument(
      Migration.fromPartial({ rounds: [{}], phases: [{}], findings: [{}], progress: {}, error: {} }),
    ),
    // These are null as long as they are not known.
    outcome: "",
    downtime_ms: 0,
    frozen_ms: 0,
    total_ms: 0,
  },
} as const;
