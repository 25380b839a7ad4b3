import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { mountsOf } from "../host/mountinfo.ts";
import { carriedTmpfs, type CarriedTmpfs } from "./carried-tmpfs.ts";
import { sweepTransitMounts, TransitMounts } from "./transit-mounts.ts";

/** A process whose mount namespace has a tmpfs of its own, with a file in it. */
const CONTAINER = `
mount -t tmpfs -o size=3m,nr_inodes=77 of-the-container "$1"
echo kept >"$1/file"
echo ready
read word
`;

let runDirectory: string;
let inside: string;
let container: ChildProcess;
beforeEach(async () => {
  runDirectory = await mkdtemp(join(tmpdir(), "transit-mounts-"));
  inside = await mkdtemp(join(tmpdir(), "transit-mounts-inside-"));
  container = spawn("unshare", ["--mount", "--propagation", "private", "sh", "-ec", CONTAINER, "sh", inside], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await once(container.stdout as NonNullable<ChildProcess["stdout"]>, "data");
});
afterEach(async () => {
  container.stdin?.end();
  await once(container, "close");
  await rm(inside, { recursive: true });
  await rm(runDirectory, { recursive: true });
});

async function ofContainer(): Promise<CarriedTmpfs> {
  const found = carriedTmpfs(await mountsOf(container.pid as number), await mountsOf("self"));
  const tmpfs = found.find(({ mountPoint }) => mountPoint === inside);
  if (tmpfs === undefined) throw new Error("the container's tmpfs is not found");
  return tmpfs;
}

const mounted = async () =>
  (await mountsOf("self")).map(({ mountPoint }) => mountPoint).filter((path) => path.startsWith(runDirectory));

test("a tmpfs of another mount namespace is seen here, and stays there when it is taken away here", async () => {
  const tmpfs = await ofContainer();
  expect(tmpfs.options).toEqual(["size=3072k", "nr_inodes=77"]);
  const mounts = new TransitMounts({ runDirectory }, "0123456789ab-source");
  const directory = await mounts.attach(container.pid as number, 0, tmpfs);
  expect(await readFile(join(directory, "file"), "utf8")).toBe("kept\n");
  await mounts.remove();
  await mounts.remove();
  expect(await mounted()).toEqual([]);
  expect(await readFile(`/proc/${container.pid}/root${inside}/file`, "utf8")).toBe("kept\n");
});

test("one that is another by now is not taken for it", async () => {
  const tmpfs = { ...(await ofContainer()), device: "0:0" };
  const mounts = new TransitMounts({ runDirectory }, "0123456789ab-source");
  await expect(mounts.attach(container.pid as number, 0, tmpfs)).rejects.toMatchObject({ reason: "NOT_FOUND" });
  const gone = { ...tmpfs, mountPoint: "/no/such/place" };
  await expect(mounts.attach(container.pid as number, 1, gone)).rejects.toThrow("/no/such/place");
  await mounts.remove();
  expect(await mounted()).toEqual([]);
});

test("those that are made have the options, and a sweep takes away what belongs to no migration", async () => {
  const mine = new TransitMounts({ runDirectory }, "aaaaaaaaaaaa");
  const directory = await mine.make(0, { source: "shm", options: ["size=3072k", "nr_inodes=77"] });
  const stale = await new TransitMounts({ runDirectory }, "bbbbbbbbbbbb").make(1, { source: "tmpfs", options: [] });
  const made = (await mountsOf("self")).find(({ mountPoint }) => mountPoint === directory);
  expect(made).toMatchObject({
    type: "tmpfs",
    source: "shm",
    superOptions: expect.arrayContaining(["size=3072k", "nr_inodes=77"]),
  });
  await writeFile(join(directory, "file"), "kept");
  await sweepTransitMounts({ runDirectory }, ["aaaaaaaaaaaa"]);
  expect(await mounted()).toEqual([directory]);
  await expect(access(stale)).rejects.toMatchObject({ code: "ENOENT" });
  expect((await stat(join(directory, "file"))).size).toBe(4);
  await mine.remove();
  expect(await mounted()).toEqual([]);
});
