import { expect, test } from "vitest";
import { parseCreate, restoreCommand } from "./restore-command.ts";

const ID = "ab".repeat(32);
const CREATE = [
  "--root",
  "/var/run/docker/runtime-runc/moby",
  "--log",
  "/run/b/log.json",
  "--log-format=json",
  "--systemd-cgroup",
  "create",
  "--bundle",
  "/run/b",
  "--no-new-keyring",
  "--pid-file",
  "/run/b/init.pid",
  "--console-socket",
  "/tmp/pty.sock",
  ID,
];
const TARGET = { runcPath: "/usr/sbin/runc", imageDirectory: "/i", workDirectory: "/w", lazyPages: false };

test("everything that containerd had asked for is carried over", () => {
  expect(restoreCommand(parseCreate(CREATE), TARGET)).toEqual([
    "/usr/sbin/runc",
    "--root=/var/run/docker/runtime-runc/moby",
    "--log=/run/b/log.json",
    "--log-format=json",
    "--systemd-cgroup",
    "restore",
    "--detach",
    "--image-path",
    "/i",
    "--work-path",
    "/w",
    "--tcp-established",
    "--file-locks",
    "--ext-unix-sk",
    "--bundle=/run/b",
    "--pid-file=/run/b/init.pid",
    "--console-socket=/tmp/pty.sock",
    ID,
  ]);
});

test("knows bundle, root and id", () => {
  expect(parseCreate(CREATE)).toMatchObject({
    bundle: "/run/b",
    dockerId: ID,
    runcRoot: "/var/run/docker/runtime-runc/moby",
  });
  expect(parseCreate(["create", "-b", "/x", ID])).toMatchObject({ bundle: "/x", runcRoot: "/run/runc" });
});

test("lazy pages on demand", () => {
  expect(restoreCommand(parseCreate(CREATE), { ...TARGET, lazyPages: true })).toContain("--lazy-pages");
});

test("guesses nothing", () => {
  const broken = [
    [],
    ["start", ID],
    ["create", "--bundle", "/b"],
    ["create", "--bundle", "/b", ID, "more"],
    ["create", "--bundle", "relative", ID],
    ["create", ID],
    ["create", "--bundle", "/b", "--invented", ID],
    ["--invented", "create", "--bundle", "/b", ID],
    ["create", ID, "--bundle"],
  ];
  for (const args of broken) expect(() => parseCreate(args), args.join(" ")).toThrow("runc create came with");
});

test("a CRIU of Docker's own choice does not pass by the one that waits for the images", () => {
  const create = parseCreate(["--criu", "/opt/criu", "--root=/r", "create", "--bundle=/run/b", ID]);
  expect(restoreCommand(create, TARGET).slice(0, 3)).toEqual(["/usr/sbin/runc", "--root=/r", "restore"]);
});
