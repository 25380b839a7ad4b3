/** What every suite needs of the lab it runs in. */
import { afterAll, afterEach, beforeAll } from "vitest";
import { type AddressedSuite, addressIndex } from "../harness/address-ranges.ts";
import {
  type StartedContainer,
  removeContainer,
  startContainer,
  startRedis,
  type StartOptions,
} from "../harness/containers.ts";
import { assertNothingLeft, type Residue, residueOfAll } from "../harness/leftovers.ts";
import { Prover, PROVER_IMAGE } from "../harness/memory-prover.ts";
import { TestLab } from "../harness/test-lab.ts";

/** The lab that the runner has brought up. */
export const LAB_NAME = process.env["DRAYAGE_LAB"] ?? "lab";

/**
 * Opens the lab before the suite's tests, removes their containers after each test, and after all of them demands that
 * every node has what it had before and nothing more.
 */
export class Stage {
  #lab: TestLab | undefined;
  #before: Readonly<Record<string, Residue>> = {};
  readonly #names: string[] = [];
  readonly #suite: AddressedSuite;
  #given = 0;

  constructor(suite: AddressedSuite, images: readonly string[]) {
    this.#suite = suite;
    beforeAll(async () => {
      this.#lab = await TestLab.open(LAB_NAME);
      if (images.length > 0) await this.lab.images(images, [this.source]);
      this.#before = await residueOfAll(this.lab);
    });
    afterEach(async () => {
      for (const name of this.#names.splice(0)) await removeContainer(this.lab, name);
    });
    afterAll(async () => {
      await assertNothingLeft(this.lab, this.#before, []);
    });
  }

  get lab(): TestLab {
    if (this.#lab === undefined) throw new Error("the lab is not open");
    return this.#lab;
  }

  get source(): string {
    return this.#node(0);
  }

  get destination(): string {
    return this.#node(1);
  }

  get third(): string {
    return this.#node(2);
  }

  address(): string {
    return this.lab.freeAddress(addressIndex(this.#suite, this.#given++));
  }

  async start(options: StartOptions): Promise<StartedContainer> {
    this.#names.push(options.name);
    return await startContainer(this.lab, options);
  }

  async startRedis(options: Parameters<typeof startRedis>[1]): Promise<StartedContainer> {
    this.#names.push(options.name);
    return await startRedis(this.lab, options);
  }

  /** The memory-proving program, on the source, which has its image. */
  async startProver(name: string, ...command: string[]) {
    const address = this.address();
    const container = await this.start({ node: this.source, name, address, image: PROVER_IMAGE, command });
    return { address, container, prover: await Prover.open(address) };
  }

  /** While containers of the test are still there: nothing but they. */
  async nothingElseLeft(): Promise<void> {
    await assertNothingLeft(this.lab, this.#before, this.#names);
  }

  #node(index: number): string {
    const node = this.lab.nodes[index];
    if (node === undefined) throw new Error(`the lab has no node ${index + 1}`);
    return node;
  }
}
