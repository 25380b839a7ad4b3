/** What the agent's page server makes of a real dump is what CRIU's own makes of it. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { PageRange } from "../../agent/src/memory-image/page-range.ts";
import { joinRanges, parsePagemap } from "../../agent/src/memory-image/pagemap-image.ts";
import { Stage } from "../e2e/stage.ts";
import { importProver, Prover, PROVER_IMAGE } from "../harness/memory-prover.ts";
import { dumpToCriu, dumpToUs, installPageServer, removePageServer } from "../harness/page-server.ts";
import { isWrittenByKernel, rseqCount } from "../harness/rseq.ts";

const RUNC_ROOT = "/run/docker/runtime-runc/moby";
const ROOT = "/run/page-server-test";
const OF_CRIU = `${ROOT}/of-criu`;
const OURS = `${ROOT}/ours`;
const SOCKET = `${ROOT}/pages.socket`;
/** As in agent/src/criu/dump-container.ts. */
const PAGE_SOCKET = 61;
const AS_THE_AGENT = `export PATH=/usr/lib/drayage/guarded:$PATH DRAYAGE_PAGE_SOCKET=${PAGE_SOCKET} DRAYAGE_PAGE_SERVER=${SOCKET}`;
const CRIUS_PORT = 27_313;
const MEGABYTES = 48;
const THREADS_OF_CONTAINER = `ls "/proc/$(docker inspect --format '{{.State.Pid}}' "$1")/task" | wc --lines`;
const stage = new Stage("page-server", []);

let dockerId = "";
let prover: Prover;

beforeAll(async () => {
  await importProver(stage.lab, [stage.source]);
  await installPageServer(stage.lab, stage.source);
});

afterAll(async () => {
  await removePageServer(stage.lab, stage.source);
  await stage.lab.exec(stage.source, ["rm", "--recursive", "--force", ROOT]);
});

beforeEach(async () => {
  await stage.lab.exec(stage.source, ["rm", "--recursive", "--force", ROOT]);
  await stage.lab.exec(stage.source, ["mkdir", "--parents", OF_CRIU, OURS]);
  const container = await stage.start({
    node: stage.source,
    name: "page-server-prover",
    image: PROVER_IMAGE,
    address: stage.address(),
    command: ["--mb", `${MEGABYTES}`],
  });
  dockerId = container.dockerId;
  prover = await Prover.open(container.address);
  return () => prover.close();
});

/** CRIU's client, as runc calls it: by an address, or as the agent does. The other images of the dump are of no interest. */
async function dump(server: { readonly port: number } | "ours"): Promise<void> {
  const lines = server === "ours" ? `page-server 'ps-socket ${PAGE_SOCKET}'` : "";
  const flags = server === "ours" ? "" : `--page-server 127.0.0.1:${server.port}`;
  await stage.lab.shell(
    stage.source,
    `mkdir -p "$1/images" "$1/work"
     printf '%s\\n' 'network-lock skip' manage-cgroups=ignore ${lines} >"$1/criu.conf"
     export CRIU_CONFIG_FILE="$1/criu.conf"
     ${server === "ours" ? AS_THE_AGENT : ""}
     runc --root ${RUNC_ROOT} checkpoint --leave-running --tcp-established --file-locks --ext-unix-sk \
       --image-path "$1/images" --work-path "$1/work" ${flags} "$2" || {
       grep Error "$1/work/dump.log" >&2
       exit 1
     }
     rm -r "$1"`,
    ...[`${ROOT}/dump`, dockerId],
  );
}

/** To the agent's server. */
const toUs = (body: () => Promise<void>) =>
  dumpToUs(stage.lab, stage.source, { directory: OURS, socket: SOCKET }, body);

async function rangesIn(directory: string, name: string): Promise<{ pagesId: number; ranges: PageRange[] }> {
  const image = await stage.lab.exec(stage.source, ["base64", "--wrap=0", `${directory}/${name}`]);
  const { pagesId, ranges } = parsePagemap(Buffer.from(image, "base64"));
  const joined: PageRange[] = [];
  for (const range of ranges) {
    const last = joined.at(-1);
    const both = last === undefined ? null : joinRanges(last, range);
    if (both === null) joined.push(range);
    else joined[joined.length - 1] = both;
  }
  return { pagesId, ranges: joined };
}

async function filesIn(directory: string, pattern: string): Promise<string[]> {
  const found = await stage.lab.exec(stage.source, ["find", directory, "-name", pattern, "-printf", "%f\\n"]);
  return found.split("\n").sort();
}

/** Where the two images of pages differ, in bytes. */
async function differences(name: string): Promise<number[]> {
  const script = 'cmp --verbose "$1" "$2" || [ $? = 1 ]';
  const lines = await stage.lab.shell(stage.source, script, `${OURS}/${name}`, `${OF_CRIU}/${name}`);
  // cmp counts from 1.
  return lines.split("\n").flatMap((line) => (line.trim() === "" ? [] : [Number.parseInt(line, 10) - 1]));
}

test("the same images come of the same memory", async () => {
  await stage.lab.docker(stage.source, "pause", dockerId);
  const crius = { directory: OF_CRIU, port: CRIUS_PORT };
  await dumpToCriu(stage.lab, stage.source, crius, () => dump({ port: CRIUS_PORT }));
  const totals = await toUs(() => dump("ours"));
  await stage.lab.docker(stage.source, "unpause", dockerId);
  await prover.check();

  const pagemaps = await filesIn(OF_CRIU, "pagemap-*.img");
  expect(pagemaps).toContain("pagemap-1.img");
  // One region of the prover is shared.
  expect(pagemaps.some((name) => name.startsWith("pagemap-shmem-"))).toBe(true);
  expect(await filesIn(OURS, "pagemap-*.img")).toEqual(pagemaps);
  for (const name of pagemaps) expect(await rangesIn(OURS, name), name).toEqual(await rangesIn(OF_CRIU, name));

  const pages = await filesIn(OF_CRIU, "pages-*.img");
  expect(await filesIn(OURS, "pages-*.img")).toEqual(pages);
  const threads = Number(await stage.lab.shell(stage.source, THREADS_OF_CONTAINER, dockerId));
  for (const name of pages) {
    const places = await differences(name);
    expect(
      places.filter((place) => !isWrittenByKernel(place)),
      name,
    ).toEqual([]);
    expect(rseqCount(places), name).toBeLessThanOrEqual(threads);
  }

  expect(totals).toMatchObject({ images: pagemaps.length, parentPages: 0, lazyPages: 0 });
  expect(totals.contentBytes).toBe(totals.presentPages * 4096);
  const sizes = await stage.lab.exec(stage.source, ["find", OURS, "-name", "pages-*.img", "-printf", "%s\\n"]);
  expect(totals.contentBytes).toBe(sizes.split("\n").reduce((sum, size) => sum + Number(size), 0));
  expect(totals.contentBytes).toBeGreaterThan((MEGABYTES / 2) * 2 ** 20);
});

test("a dump that fails of its page server leaves the container as it was", async () => {
  await stage.lab.docker(stage.source, "pause", dockerId);
  // Stands in the way of the first image.
  await stage.lab.exec(stage.source, ["touch", `${OURS}/pages-65537.img`]);
  const failing = toUs(async () => {
    await expect(dump("ours")).rejects.toThrow();
  });
  await expect(failing).rejects.toThrow(/has ended with 1;.*there is a second pages-65537\.img/s);
  await stage.lab.docker(stage.source, "unpause", dockerId);
  await prover.check();
});
