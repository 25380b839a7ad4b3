/** A thousand connections to one server, all held. */
import { expect, test } from "vitest";
import { LineConnection } from "../harness/line-connection.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";

const CONNECTIONS = 1000;
const stage = new Stage("clients", ["redis"]);

test(`${CONNECTIONS} held connections live through a move`, async () => {
  const { lab } = stage;
  const address = stage.address();
  const redis = await stage.startRedis({
    node: stage.source,
    name: "many",
    address,
    options: ["--ulimit", "nofile=4096:4096"],
  });
  const clients: LineConnection[] = [];
  // A listen queue is short; opened one after the other, none has to try twice.
  for (let index = 0; index < CONNECTIONS; index++)
    clients.push(await LineConnection.open({ host: address, port: 6379 }));
  const round = async () => await Promise.all(clients.map((client, index) => client.ask(`INCR client:${index}\r\n`)));
  expect(new Set(await round())).toEqual(new Set([":1"]));
  // Requests are under way on every connection while it moves.
  const moving = migrate(lab, redis.name, stage.destination);
  let rounds = 1;
  let moved = false;
  const settle = () => {
    moved = true;
  };
  moving.then(settle, settle);
  while (!moved) {
    rounds += 1;
    expect(new Set(await round())).toEqual(new Set([`:${rounds}`]));
  }
  await moving;
  expect(new Set(await round())).toEqual(new Set([`:${rounds + 1}`]));
  expect(clients.filter(({ broken }) => broken !== undefined)).toHaveLength(0);
  await assertOneCopy(lab, redis, stage.destination);
  for (const client of clients) client.close();
});
