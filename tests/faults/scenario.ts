/**
 * A migration that is stopped at a named point, something is done to it there, it goes on, and what it comes to is
 * judged.
 */
import type { MigrationRecord } from "@drayage/shared/state/migration.ts";
import type { Fault } from "./fault-points.ts";
import type { CaseMode, FaultOf, Outcome, Place, Role } from "./case-terms.ts";
import { type Actors, SETTLE_MS, type Stage } from "./stage.ts";

export interface Scene {
  readonly stage: Stage;
  readonly actors: Actors;
  /** The migration. */
  readonly id: string;
}

export interface Scenario {
  /** Default: stop-copy. */
  readonly mode?: CaseMode;
  /** More options of `dray migrate`. */
  readonly options?: readonly string[];
  /** Before the migration is ordered. */
  prepare?(stage: Stage, actors: Actors): Promise<void>;
  /** Where it hangs until `during` is over. */
  readonly hold: Place;
  during(scene: Scene): Promise<void>;
  /** After it goes on, for example to end what was done; before the outcome is looked at. */
  afterwards?(scene: Scene): Promise<void>;
  readonly outcomes: readonly Outcome[];
}

/** The nodes where a fault has to be set: nobody knows which coordinator will lead when the point is passed. */
export function nodesOf(stage: Stage, role: Role, actors: Actors): readonly string[] {
  return role === "leader" ? stage.lab.nodes : [actors[role]];
}

/** These faults and no others, on any node. */
export async function setFaults(stage: Stage, actors: Actors, faults: readonly FaultOf[]): Promise<void> {
  const byNode = new Map<string, Fault[]>(stage.lab.nodes.map((node) => [node, []]));
  for (const { role, fault } of faults) {
    for (const node of nodesOf(stage, role, actors)) byNode.set(node, [...(byNode.get(node) ?? []), fault]);
  }
  const setOn = (node: string, own: Fault[]) =>
    own.length === 0 ? stage.faults.lift(node) : stage.faults.set(node, own);
  await Promise.all([...byNode].map(([node, own]) => setOn(node, own)));
}

/** The coordinator on the source does not lead; it is back with the node's power. */
export async function leadElsewhere({ lab }: Stage, { source }: Actors): Promise<void> {
  await lab.exec(source, ["systemctl", "stop", "drayage-coordinator"]);
  await lab.ready();
}

export interface PlayOptions {
  /** The case has changed the nodes: only the outcome is judged, the rest is for the caller. */
  readonly isolated?: boolean;
}

/** Plays it and asserts that everything is sound afterwards and that the container can be moved again. */
export async function play(stage: Stage, scenario: Scenario, options: PlayOptions = {}): Promise<MigrationRecord> {
  const actors = await stage.set();
  await scenario.prepare?.(stage, actors);
  const { role, point } = scenario.hold;
  await setFaults(stage, actors, [{ role, fault: { point, action: "hang" } }]);
  const id = await stage.begin(actors.destination, "--mode", scenario.mode ?? "stop-copy", ...(scenario.options ?? []));
  await stage.faults.firing(point, SETTLE_MS);
  const scene = { stage, actors, id };
  await scenario.during(scene);
  // A node whose power was cut has forgotten its faults.
  await stage.faults.clear(await stage.nodesThatRun());
  await scenario.afterwards?.(scene);
  const record = await stage.settled(id);
  if (options.isolated === true) assertOutcome(record, scenario.outcomes);
  else await assertEnd(stage, actors, record, scenario.outcomes);
  return record;
}

function assertOutcome(record: MigrationRecord, outcomes: readonly Outcome[]): void {
  if (record.outcome === null || !(outcomes as readonly string[]).includes(record.outcome)) {
    throw new Error(`the migration ended ${record.outcome} instead of ${outcomes.join(" or ")}: ${record.reason}`);
  }
}

export async function assertEnd(
  stage: Stage,
  actors: Actors,
  record: MigrationRecord,
  outcomes: readonly Outcome[],
): Promise<void> {
  assertOutcome(record, outcomes);
  const isThere = record.outcome === "completed";
  await stage.assertSound(isThere ? actors.destination : actors.source, {
    onwards: isThere ? actors.source : actors.destination,
  });
}
