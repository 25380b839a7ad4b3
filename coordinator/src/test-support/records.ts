/** Records for tests. */
import type { MigrationRecord } from "@drayage/shared/state/migration.ts";
import type { InventoryRecord, NodeRecord } from "@drayage/shared/state/node.ts";

export function nodeRecord(name: string): NodeRecord {
  return {
    name,
    labels: {},
    addresses: ["127.0.0.1:7400"],
    pageAddresses: ["127.0.0.1:7401"],
    host: {
      kernel: "6.12.0",
      criuVersion: 40200,
      architecture: "x86_64",
      cpuFlags: [],
      cgroupVersion: "v2",
      cgroupDriver: "systemd",
      criuFeatures: [],
      dockerVersion: "28.0.0",
      runcVersion: "1.3.0",
      drayageVersion: "0.1.0",
      securityProfiles: [],
      criuObjection: "",
    },
    memoryTotalBytes: 8 * 2 ** 30,
    memoryAvailableBytes: 4 * 2 ** 30,
    cpus: 4,
    runningContainers: 0,
    problems: [],
    registeredAtMs: 0,
  };
}

export function inventoryRecord(change: Partial<InventoryRecord> = {}): InventoryRecord {
  return {
    uuid: "0f0e0d0c-0000-4000-8000-000000000001",
    dockerId: "a".repeat(64),
    name: "redis",
    node: "n1",
    image: "redis:7",
    state: "running",
    runtime: "drayage",
    addresses: {},
    ...change,
  };
}

export function migrationRecord(change: Partial<MigrationRecord> = {}): MigrationRecord {
  return {
    id: "0123456789ab",
    requestId: "",
    containerUuid: inventoryRecord().uuid,
    container: "redis",
    sourceDockerId: inventoryRecord().dockerId,
    source: "n1",
    destination: "n2",
    mode: "stop-copy",
    epoch: 1,
    phase: "reserve",
    phaseStartedAtMs: null,
    outcome: null,
    reason: "",
    allowFlags: [],
    timeoutMs: 600_000,
    bandwidthBytesPerSecond: 0,
    maxDowntimeMs: 0,
    startedAtMs: 0,
    lockedAtMs: null,
    downtimeMs: null,
    frozenMs: null,
    totalMs: null,
    autoConverge: false,
    rounds: [],
    decisions: [],
    postCopy: false,
    memoryBytes: 0,
    wireBytes: 0,
    phases: [],
    findings: [],
    error: null,
    cancelRequested: false,
    ...change,
  };
}
