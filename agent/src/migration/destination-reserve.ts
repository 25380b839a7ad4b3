/**
 * What a migration reserves on its destination: room for the images, the
 * container, and the source's right to send; and where it puts what arrives.
 */
import { randomBytes } from "node:crypto";
import type { Readable } from "node:stream";
import { Serial } from "@drayage/shared/concurrency/serial.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import {
  type ReserveRequest,
  type ReserveResponse,
  SourceDescription,
} from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { Authorisation } from "@drayage/shared/page-stream/transfer-types.ts";
import { restartPolicyOf } from "../docker/restart-policy.ts";
import type { ContainerInspect } from "../docker/types.ts";
import { findImage, importImage } from "../image/image-transfer.ts";
import type { DestinationEntry } from "../journal/entry.ts";
import { giveBackSuperseded } from "../memory-image/give-back.ts";
import { applyLayer, layerDirectory, type LayerTarget } from "../layer/layer.ts";
import type { AgentHost } from "./agent-host.ts";
import type { DestinationContainer } from "./destination-container.ts";
import type { DestinationContext } from "./destination-record.ts";
import { IncomingTransfer } from "./incoming-transfer.ts";
import type { PageFetch } from "../post-copy/page-fetch.ts";
import type { CarriedTmpfs } from "../tmpfs/carried-tmpfs.ts";
import { TransitMounts } from "../tmpfs/transit-mounts.ts";
import { bundleRoot } from "./oci-bundle.ts";
import { makeRoundDirectory, removeRoundDirectories } from "./round-directories.ts";
import { PagesPlace } from "./pages-place.ts";
import {
  destinationDemand,
  makeTransitDirectory,
  removeTransitDirectory,
  transitOptionsOf,
} from "./transit-directory.ts";

/** Makes room for the images and journals the intent. NO_SPACE if there is none. */
export async function journalReserving(host: AgentHost, request: ReserveRequest): Promise<DestinationEntry> {
  const { description, order } = request;
  if (description === undefined || order === undefined)
    throw new DrayError("BAD_REQUEST", "Reserve needs an order and a description");
  const transit = transitOptionsOf(host.config);
  const entry: DestinationEntry = {
    role: "destination",
    state: "reserving",
    migrationId: order.migrationId,
    uuid: description.uuid,
    containerName: description.name,
    epoch: request.epoch,
    peerNode: request.sourceNode,
    atMs: Date.now(),
    error: "",
    dockerId: "",
    restartPolicy: restartPolicyOf(JSON.parse(description.inspectJson) as ContainerInspect),
    macs: [],
    imageDirectory: await makeTransitDirectory(transit, order.migrationId, destinationDemand(description)),
    descriptionJson: JSON.stringify(SourceDescription.toJSON(description)),
    thawedAtMs: null,
    postCopy: null,
    placesLater: false,
  };
  await faultPoint("destination.before-journal-reserving");
  try {
    await host.journal.write(entry);
  } catch (thrown) {
    await removeTransitDirectory(transit, order.migrationId);
    throw thrown;
  }
  await faultPoint("destination.after-journal-reserving");
  return entry;
}

export class Reservation {
  readonly transfer: IncomingTransfer;
  readonly #context: DestinationContext;
  readonly #container: DestinationContainer;
  /** Of a post-copy under way it is in the journal: the source may come again when this process is another. */
  readonly #token: string;
  readonly #orders = new Serial();
  /** Where the copy's tmpfs are, by number. */
  readonly #tmpfs = new Map<number, string>();
  readonly #pages: PagesPlace;
  /** What the last round has superseded; never rejects. */
  #givingBack: Promise<void> = Promise.resolve();
  #authorisation: Authorisation | undefined;

  constructor(context: DestinationContext, container: DestinationContainer, fetch: Pick<PageFetch, "receive">) {
    this.#context = context;
    this.#token = context.record.entry.postCopy?.transferToken ?? randomBytes(32).toString("base64url");
    this.#container = container;
    const { migrationId, imageDirectory, descriptionJson } = context.record.entry;
    const { memoryBytes } = SourceDescription.fromJSON(JSON.parse(descriptionJson));
    const transit = transitOptionsOf(context.host.config);
    this.#pages = new PagesPlace({ transit, imageDirectory, migrationId, memoryBytes });
    this.transfer = new IncomingTransfer({
      imageDirectory,
      roundDirectory: async (round) => {
        await this.#givingBack;
        return await makeRoundDirectory(imageDirectory, round);
      },
      roundComplete: (directory) => {
        this.#givingBack = this.#giveBack(directory);
      },
      pagesDirectory: (directory, writtenBytes, mostBytes) => this.#pages.next(directory, writtenBytes, mostBytes),
      image: (content) => this.#receiveImage(content),
      layer: (content) => this.#receiveLayer(content),
      layerRest: (content) => this.#receiveLayerRest(content),
      tmpfs: (number, mount, content) => this.#receiveTmpfs(number, mount, content),
      tmpfsRest: (number, content) => applyLayer(tmpfsTarget(this.#tmpfs.get(number)), content),
      postCopy: (file) => fetch.receive(file),
    });
  }

  /** Authorises the transfer and, if the image is here, creates the container. Idempotent until `holding`. */
  reserve(): Promise<ReserveResponse> {
    return this.#orders.run(() => this.#reserve());
  }

  /** Lets the source in with the token. Idempotent. */
  authorise(): void {
    const { host, record } = this.#context;
    const { migrationId, peerNode } = record.entry;
    this.#authorisation ??= host.transferServer.authorise({
      token: this.#token,
      migrationId,
      peerName: peerNode,
      receive: (file) => this.transfer.receive(file),
    });
  }

  /** What the source shows. */
  get transferToken(): string {
    return this.#token;
  }

  /** Where the copy's tmpfs are mounted on this host, by number. */
  get tmpfs(): ReadonlyMap<number, string> {
    return this.#tmpfs;
  }

  /** Lets nothing more in. Resolves when no Reserve is under way either: an abort must not overtake it. */
  async callOff(): Promise<void> {
    await this.#orders.run(() => Promise.resolve());
    await this.#authorisation?.revoke();
  }

  /** Ends the source's right to send, and gives back the room. */
  async giveUp(): Promise<void> {
    await this.#authorisation?.revoke();
    this.#authorisation = undefined;
    await this.#givingBack;
    const { host, record } = this.#context;
    const transit = transitOptionsOf(host.config);
    await removeTransitDirectory(transit, record.entry.migrationId);
    await removeTransitDirectory(transit, `${record.entry.migrationId}-work`);
    await removeRoundDirectories(record.entry.imageDirectory);
    await this.#pages.remove();
    await this.#tmpfsMounts().remove();
  }

  /** Beside what comes next: the sender takes the time until its receipt for the time that sending takes. */
  async #giveBack(directory: string): Promise<void> {
    try {
      await giveBackSuperseded(directory);
      await this.#pages.count();
    } catch (thrown) {
      // Nothing of the memory is wrong; it takes more room than it would have to.
      this.#context.phases.logger.warn({ err: toDrayError(thrown) }, "superseded pages keep their room");
    }
  }

  #tmpfsMounts(): TransitMounts {
    const { host, record } = this.#context;
    return new TransitMounts(host.config, record.entry.migrationId);
  }

  async #reserve(): Promise<ReserveResponse> {
    const { host, record } = this.#context;
    const { state } = record.entry;
    if (state !== "reserving" && state !== "reserved") throw record.outOfTurn("Reserve");
    const imagePresent = (await findImage(host.docker, this.#container.image)) !== undefined;
    if (imagePresent) await this.#container.ensure();
    this.authorise();
    if (record.entry.state === "reserving") await record.transition("reserved");
    return { transferToken: this.#token, pageAddresses: host.pageAddresses, imagePresent };
  }

  async #receiveImage(content: Readable): Promise<void> {
    await importImage(this.#context.host.docker, content, this.#container.image);
    await this.#container.ensure();
  }

  async #receiveLayer(content: Readable): Promise<void> {
    const { host, record } = this.#context;
    const directory = await layerDirectory(host.docker, record.entry.dockerId);
    await applyLayer({ kind: "upper", directory }, content);
  }

  async #receiveTmpfs(
    number: number,
    mount: Pick<CarriedTmpfs, "source" | "options">,
    content: Readable,
  ): Promise<void> {
    const directory = await this.#tmpfsMounts().make(number, mount);
    this.#tmpfs.set(number, directory);
    await applyLayer(tmpfsTarget(directory), content);
  }

  /** The root is mounted by now, so its upper directory must not be written behind the kernel's back. */
  async #receiveLayerRest(content: Readable): Promise<void> {
    const { host, record } = this.#context;
    const session = host.gate.session(record.entry.dockerId);
    if (session === undefined) throw record.outOfTurn("the rest of the layer");
    const { bundle } = await session.held;
    await applyLayer({ kind: "merged", directory: await bundleRoot(bundle) }, content);
  }
}

function tmpfsTarget(directory: string | undefined): LayerTarget {
  if (directory === undefined) throw new DrayError("INTERNAL", "a tmpfs is unknown");
  return { kind: "merged", directory };
}
