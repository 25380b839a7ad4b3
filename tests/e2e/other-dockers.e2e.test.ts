/** Dockers and runtimes that Drayage does not move from or to: each is set up, found and refused, and nothing is touched. */
import { expect, test } from "vitest";
import { giveSettings, takeSettings } from "../harness/agent-settings.ts";
import { knownToCluster, removeContainer, type StartOptions } from "../harness/containers.ts";
import { eventually } from "../harness/eventually.ts";
import { installPackages } from "../harness/node-packages.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";
import { undoAfterEach } from "./undo.ts";
import { refusal } from "./verdict.ts";

const stage = new Stage("other-dockers", ["debian-tools"]);
const IMAGE = "debian-tools:latest";
const COMMAND = ["sleep", "3600"];
const NO_NETWORK = ["--network=none"];
/** Merges its second argument into a file that an installation of Docker reads. */
const MERGE = `
const { readFileSync, writeFileSync } = require("node:fs");
const [path, more] = process.argv.slice(1);
writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path)), ...JSON.parse(more) }));
`;
const ROOTLESS_SOCKET = "/run/rootless/docker.sock";
const DAEMON_JSON = "/etc/docker/daemon.json";

/** The nodes' cgroups have no controllers, which crun, unlike runc, does not put up with. */
const CRUN = "/usr/local/bin/crun";
const WITHOUT_LIMITS = `#!/usr/lib/drayage/node
const { readFileSync, writeFileSync } = require("node:fs");
const { spawnSync } = require("node:child_process");
const words = process.argv.slice(2);
if (words.includes("create")) {
  const path = \`\${words[words.indexOf("--bundle") + 1]}/config.json\`;
  const config = JSON.parse(readFileSync(path));
  delete config.linux.resources;
  writeFileSync(path, JSON.stringify(config));
}
process.exit(spawnSync("/usr/bin/crun", words, { stdio: "inherit" }).status);
`;

const undo = undoAfterEach();

/** Starts it; it is refused for exactly this, with a remedy and exit code 4, and runs on. */
async function expectRefused(
  options: Omit<StartOptions, "image" | "command">,
  to: string,
  codes: readonly string[],
): Promise<void> {
  const { lab } = stage;
  const container = await stage.start({ ...options, image: IMAGE, command: COMMAND });
  const { name } = container;
  try {
    await knownToCluster(lab, name);
    const found = await refusal(lab, name, to);
    expect([...new Set(found.map(({ code }) => code))]).toEqual(codes);
    await assertOneCopy(lab, container, options.node);
    await stage.nothingElseLeft();
  } finally {
    // What it runs under goes before the stage would remove it.
    await removeContainer(lab, name);
  }
}

/** Docker's configuration of a node, until the test ends; `how` is what makes Docker read it. */
async function configureDocker(
  node: string,
  more: Readonly<Record<string, unknown>>,
  how: "reload" | "restart",
): Promise<void> {
  const { lab } = stage;
  const before = await lab.exec(node, ["cat", DAEMON_JSON]);
  undo(async () => {
    await lab.writeFile(node, DAEMON_JSON, `${before}\n`);
    await lab.exec(node, ["systemctl", how, "docker"]);
    await lab.ready();
  });
  await lab.exec(node, ["/usr/lib/drayage/node", "--eval", MERGE, DAEMON_JSON, JSON.stringify(more)]);
  await lab.exec(node, ["systemctl", how, "docker"]);
}

test("a container under crun", async () => {
  const { lab, source, destination } = stage;
  await installPackages(lab, [source], ["crun"]);
  undo(() => lab.exec(source, ["rm", "--force", CRUN]));
  await lab.writeFile(source, CRUN, WITHOUT_LIMITS, "0755");
  const runtimes = { drayage: { path: "/usr/bin/drayage-runc" }, crun: { path: CRUN } };
  await configureDocker(source, { runtimes }, "reload");
  const known = () => lab.docker(source, "info", "--format={{.Runtimes}}");
  await eventually(async () => (await known()).includes(CRUN) || undefined, {
    what: "Docker knows crun",
    deadlineMs: 30_000,
  });
  const options = { node: source, name: "under-crun", address: stage.address(), runtime: "crun" };
  await expectRefused(options, destination, ["unsupported-runtime"]);
});

test("Docker that maps user ids, as source and as destination", async () => {
  const { lab, source, third } = stage;
  undo(() => lab.shell(third, MAPPED_END));
  await lab.shell(third, MAPPED_START);
  await configureDocker(third, { "userns-remap": "mapped" }, "restart");
  // What containerd has of it is under this configuration only.
  undo(() => lab.docker(third, "system", "prune", "--all", "--force"));
  await lab.images(["debian-tools"], [third]);
  await lab.ready();
  await expectRefused({ node: third, name: "with-other-ids", options: NO_NETWORK }, source, ["userns-remap"]);
  await expectRefused({ node: source, name: "with-real-ids", options: NO_NETWORK }, third, ["userns-remap"]);
});

test("Docker without root", async () => {
  const { lab, source, destination } = stage;
  await installPackages(lab, [destination], ["rootlesskit", "slirp4netns", "uidmap"]);
  undo(() => lab.shell(destination, ROOTLESS_END));
  await lab.shell(destination, ROOTLESS_START);
  await eventually(async () => await lab.docker(destination, `--host=unix://${ROOTLESS_SOCKET}`, "info"), {
    what: "Docker without root answers",
    deadlineMs: 30_000,
  });
  undo(() => takeSettings(lab, [destination]));
  await giveSettings(lab, [destination], { DRAYAGE_DOCKER_SOCKET: ROOTLESS_SOCKET });
  await expectRefused({ node: source, name: "to-rootless", options: NO_NETWORK }, destination, [
    "rootless",
    // The package tells the system's Docker of it.
    "runtime-not-registered",
  ]);
});

const MAPPED_START = `
useradd --system mapped
for f in /etc/subuid /etc/subgid; do echo mapped:165536:65536 >>$f; done
`;
const MAPPED_END = `
if id mapped >/dev/null 2>&1; then userdel mapped; fi
rm -rf /var/lib/docker/165536.165536
`;

/** As Docker's own script for it does; the device's mode is what udev gives it on a host. */
const ROOTLESS_START = `
chmod 0666 /dev/net/tun
useradd --create-home rootless
for f in /etc/subuid /etc/subgid; do echo rootless:231072:65536 >>$f; done
install --directory --owner=rootless --group=rootless --mode=0700 /run/rootless
systemd-run --quiet --collect --unit=rootless-docker --uid=rootless \\
  --gid=rootless --setenv=HOME=/home/rootless --setenv=XDG_RUNTIME_DIR=/run/rootless \\
  rootlesskit --net=slirp4netns --disable-host-loopback --port-driver=builtin --copy-up=/etc --copy-up=/run --state-dir=/run/rootless/kit \\
  sh -c 'rm -rf /run/docker /run/containerd /run/docker.pid; exec dockerd --rootless --storage-driver=vfs'
`;
const ROOTLESS_END = `
if systemctl --quiet is-active rootless-docker; then systemctl stop rootless-docker; fi
if id rootless >/dev/null 2>&1; then userdel rootless; fi
rm -rf /run/rootless /home/rootless
`;
