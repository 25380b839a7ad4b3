/** PostgreSQL, moved while pgbench writes to it. */
import { expect, test } from "vitest";
import { eventually } from "../harness/eventually.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { modesOfSuite } from "./modes-of-suite.ts";
import { Stage } from "./stage.ts";

const stage = new Stage("postgres", ["postgres"]);
/** Where PostgreSQL makes its sockets; a tmpfs, which travels too. */
const SOCKETS = ["--tmpfs=/run/postgresql:mode=1777"];
/** At most: it ends when all is done. */
const BENCH_SECONDS = 540;

test("pgbench loses no transaction and no connection", { timeout: 600_000 }, async () => {
  const { lab } = stage;
  const address = stage.address();
  const image = "postgres:latest";
  // The client has to be elsewhere than the server, on a node that has the image. It need not travel as well.
  await lab.images(["postgres"], [stage.destination, stage.third]);
  const database = await stage.start({ node: stage.source, name: "database", address, image, options: SOCKETS });
  const client = await stage.start({
    node: stage.third,
    name: "bench",
    address: stage.address(),
    image,
    command: ["sleep", "3600"],
  });
  const inClient = async (script: string) => {
    const shell = ["sh", "-c", `PATH="$(echo /usr/lib/postgresql/*/bin):$PATH"; ${script}`];
    return await lab.exec(stage.third, ["docker", "exec", client.name, ...shell], { deadlineMs: BENCH_SECONDS * 1000 });
  };
  const connect = `-h ${address} -U postgres`;
  await eventually(async () => await inClient(`pg_isready ${connect}`), {
    what: "PostgreSQL is ready",
    deadlineMs: 60_000,
    everyMs: 500,
  });
  await inClient(`pgbench ${connect} --initialize --scale=2 --quiet postgres 2>&1`);
  const pidFile = "/tmp/bench.pid";
  const bench = inClient(
    `echo $$ > ${pidFile}; exec pgbench ${connect} --client=4 --jobs=2 --time=${BENCH_SECONDS} --no-vacuum postgres 2>&1`,
  );
  bench.catch(() => undefined);
  const transactions = async () =>
    Number(await inClient(`psql ${connect} -Atc 'select count(*) from pgbench_history' postgres`));
  const underWay = async () => {
    const goal = (await transactions()) + 100;
    await eventually(async () => ((await transactions()) > goal ? true : undefined), {
      what: "transactions are under way",
      deadlineMs: 30_000,
    });
  };
  await underWay();
  let to = stage.destination;
  for (const mode of modesOfSuite(lab.suite)) {
    const migration = await migrate(lab, database.name, to, "--mode", mode);
    expect(migration.mode).toBe(mode);
    await underWay();
    await assertOneCopy(lab, database, to);
    to = to === stage.destination ? stage.source : stage.destination;
  }
  // The signal by which it ends when its time is up.
  await inClient(`kill -ALRM "$(cat ${pidFile})"`);
  const report = await bench;
  expect(report).toMatch(/number of failed transactions: 0 /);
  expect(report).not.toMatch(/aborted|connection.*(lost|closed)/i);
  const processed = Number(/number of transactions actually processed: (\d+)/.exec(report)?.[1]);
  const sums =
    "select count(*), (select sum(abalance) from pgbench_accounts) = sum(delta), (select sum(bbalance) from pgbench_branches) = sum(delta) from pgbench_history";
  expect(await inClient(`psql ${connect} -Atc '${sums}' postgres`)).toBe(`${processed}|t|t`);
});
