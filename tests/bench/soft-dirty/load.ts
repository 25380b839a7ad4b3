/** A Redis under light load: some writes a second on one connection, each of which must be answered, in order. */
import { setTimeout as pause } from "node:timers/promises";
import { LineConnection } from "../../harness/line-connection.ts";

const PORT = 6379;

export class Load {
  readonly #connection: LineConnection;
  readonly #writesPerSecond: number;
  readonly #ending = new AbortController();
  readonly #running: Promise<void>;

  private constructor(connection: LineConnection, writesPerSecond: number) {
    this.#connection = connection;
    this.#writesPerSecond = writesPerSecond;
    this.#running = this.#run();
    // Told of at the end.
    this.#running.catch(() => undefined);
  }

  static async begin(host: string, writesPerSecond: number): Promise<Load> {
    return new Load(await LineConnection.open({ host, port: PORT }), writesPerSecond);
  }

  async end(): Promise<void> {
    this.#ending.abort();
    await this.#running;
    this.#connection.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    for (let number = 1; !signal.aborted; number++) {
      const answer = await this.#connection.ask("INCR load\r\n");
      if (answer !== `:${number}`) throw new Error(`Redis has counted ${answer} after ${number} times`);
      await pause(1000 / this.#writesPerSecond, undefined, { signal }).catch(() => undefined);
    }
  }
}
