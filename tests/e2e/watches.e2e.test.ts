/** Files that are watched with inotify: on the overlay, on a mount of Docker's, on a tmpfs. */
import { expect, test } from "vitest";
import { eventually } from "../harness/eventually.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";

const stage = new Stage("watches", ["debian-tools"]);

/** Says what was written into which of the directories and files that it watches. */
const WATCHER = `
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
places = ["/", "/etc", "/etc/passwd", "/etc/hosts", "/dev/shm/own", "/srv/two words"]
for directory in places[-2:]: os.makedirs(directory, exist_ok=True)
fd = libc.inotify_init()
watched = {libc.inotify_add_watch(fd, place.encode(), 0x8): place for place in places}
print("watching", flush=True)
while True:
    events = os.read(fd, 4096)
    while events:
        wd, mask, cookie, length = struct.unpack_from("iIII", events)
        print("wrote", watched[wd], events[16 : 16 + length].rstrip(b"\\0").decode(), sep="|", flush=True)
        events = events[16 + length :]
`;
/** What is written on the destination, and what the watcher has to say of it. */
const WRITTEN = [
  ["/top", "wrote|/|top"],
  ["/etc/new", "wrote|/etc|new"],
  ["/etc/passwd", "wrote|/etc/passwd|"],
  ["/etc/hosts", "wrote|/etc/hosts|"],
  ["/dev/shm/own/file", "wrote|/dev/shm/own|file"],
  ["/srv/two words/file", "wrote|/srv/two words|file"],
] as const;

test("watches go on, whatever file system the watched is on", async () => {
  const { lab } = stage;
  const place = { node: stage.source, address: stage.address() };
  const command = ["python3", "-c", WATCHER];
  const container = await stage.start({ ...place, name: "watcher", image: "debian-tools:latest", command });
  const said = (node: string) => lab.docker(node, "logs", container.name);
  await eventually(async () => ((await said(stage.source)).includes("watching") ? true : undefined), {
    what: "it watches",
    deadlineMs: 20_000,
  });
  await migrate(lab, container.name, stage.destination);
  for (const [path] of WRITTEN) {
    await lab.docker(stage.destination, "exec", container.name, "sh", "-c", 'echo >>"$1"', "sh", path);
  }
  const lines = await eventually(
    async () => {
      const heard = (await said(stage.destination)).split("\n");
      return WRITTEN.every(([, line]) => heard.includes(line)) ? heard : undefined;
    },
    { what: "it has heard of everything that was written", deadlineMs: 20_000 },
  );
  expect(lines.filter((line) => line === "watching")).toEqual([]);
  await assertOneCopy(lab, container, stage.destination);
  await stage.nothingElseLeft();
});
