/** PostgreSQL, moved while pgbench writes to it. */
import { expect, test } from "vitest";
import { eventually } from "../harness/eventually.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";

const stage = new Stage("postgres", ["postgres"]);
/** Where PostgreSQL makes its sockets; a tmpfs, which travels too. */
const SOCKETS = ["--tmpfs=/run/postgresql:mode=1777"];
const BENCH_SECONDS = 45;

test("pgbench loses no transaction and no connection", { timeout: 600_000 }, async () => {
  const { lab } = stage;
  const address = stage.address();
  const image = "postgres:latest";
  // The client has to be elsewhere than the server, on a node that has the image.
  await lab.images(["postgres"], [stage.third]);
  const database = await stage.start({ node: stage.source, name: "database", address, image, options: SOCKETS });
  const client = await stage.start({
    node: stage.third,
    name: "bench",
    address: stage.address(),
    image,
    command: ["sleep", "3600"],
  });
  const inClient = async (script: string) =>
    await lab.docker(
      stage.third,
      "exec",
      client.name,
      "sh",
      "-c",
      `PATH="$(echo /usr/lib/postgresql/*/bin):$PATH"; ${script}`,
    );
  const connect = `-h ${address} -U postgres`;
  await eventually(async () => await inClient(`pg_isready ${connect}`), {
    what: "PostgreSQL is ready",
    deadlineMs: 60_000,
    everyMs: 500,
  });
  await inClient(`pgbench ${connect} --initialize --scale=2 --quiet postgres 2>&1`);
  const bench = inClient(`pgbench ${connect} --client=4 --jobs=2 --time=${BENCH_SECONDS} --no-vacuum postgres 2>&1`);
  bench.catch(() => undefined);
  await eventually(
    async () =>
      Number(await inClient(`psql ${connect} -Atc 'select count(*) from pgbench_history' postgres`)) > 100
        ? true
        : undefined,
    {
      what: "transactions are under way",
      deadlineMs: 30_000,
    },
  );
  for (const to of [stage.destination, stage.source]) {
    await migrate(lab, database.name, to);
    await assertOneCopy(lab, database, to);
  }
  const report = await bench;
  expect(report).toMatch(/number of failed transactions: 0 /);
  expect(report).not.toMatch(/aborted|connection.*(lost|closed)/i);
  const processed = Number(/number of transactions actually processed: (\d+)/.exec(report)?.[1]);
  const sums =
    "select count(*), (select sum(abalance) from pgbench_accounts) = sum(delta), (select sum(bbalance) from pgbench_branches) = sum(delta) from pgbench_history";
  expect(await inClient(`psql ${connect} -Atc '${sums}' postgres`)).toBe(`${processed}|t|t`);
});
