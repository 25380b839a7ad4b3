/**
 * Which of the lab's free addresses each suite takes. No two suites share one: for up to a minute, neighbour tables
 * know an address by the MAC address of the container that had it last, and the next one would not be reached.
 * Benchmarks and the lab of virtual machines have labs of their own.
 */
const NEEDED = {
  faults: 1,
  "faults together": 10,
  "faults terminal": 1,
  redis: 6,
  ipv6: 1,
  memory: 2,
  processes: 2,
  layer: 2,
  tmpfs: 1,
  clients: 1,
  watches: 1,
  commands: 2,
  postgres: 2,
  "shared-memory": 1,
  configuration: 1,
  refusals: 24,
  findings: 12,
  "other-dockers": 2,
  "shared-storage": 2,
  modes: 10,
  workloads: 12,
  docker: 2,
  "two-phase": 20,
  "lazy-restore": 2,
  "page-server": 2,
  "repeated-pages": 2,
  "changing-pages": 2,
  "place-later": 7,
  "rounds-on-disk": 3,
  convergence: 4,
  lanes: 4,
  "dump-to-page-server": 10,
  "source-without-room": 2,
  "unread-pages": 2,
  "huge-pages": 2,
} as const satisfies Record<string, number>;

export type AddressedSuite = keyof typeof NEEDED;

export const SUITES = Object.keys(NEEDED) as AddressedSuite[];

/** The index of the n-th address, from 0, of a suite among the lab's free ones. */
export function addressIndex(suite: AddressedSuite, n: number): number {
  if (n >= NEEDED[suite]) {
    throw new Error(
      `the suite ${suite} has ${NEEDED[suite]} addresses; give it more in tests/harness/address-ranges.ts`,
    );
  }
  const before = SUITES.slice(0, SUITES.indexOf(suite));
  return before.reduce((sum, other) => sum + NEEDED[other], n);
}

/** How many all suites need together. */
export const ALL_NEEDED = Object.values(NEEDED).reduce<number>((sum, count) => sum + count, 0);
