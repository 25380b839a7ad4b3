/** Findings of preflight that take something real on a host to be made: each is made, found and refused. */
import { describe, expect, test } from "vitest";
import { knownToCluster } from "../harness/containers.ts";
import { hasSysResource } from "../../deploy/lab/src/node/resource-limits.ts";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { eventually } from "../harness/eventually.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";
import { undoAfterEach } from "./undo.ts";
import { refusal, verdictOn } from "./verdict.ts";

/** At once, though an agent may run it just now: it looks at its CRIU again and again while that is unfit. */
const UNMOUNT = "umount --lazy";
const stage = new Stage("findings", ["debian-tools"]);
const TOOLS = "debian-tools:latest";
const SLEEP = ["sleep", "3600"];
/** The package's own; nodes need not have another interpreter. */
const NODE = "/usr/lib/drayage/node";

const undo = undoAfterEach();

/** All of them are found, with a remedy, and the migration is refused with exit code 4. */
async function expectRefused(name: string, codes: readonly string[]): Promise<void> {
  const { lab } = stage;
  await knownToCluster(lab, name);
  const found = await refusal(lab, name, stage.destination);
  expect(found.map(({ code }) => code)).toEqual(expect.arrayContaining([...codes]));
}

/** Lets nobody reach a node's page socket, until the test ends or the function that comes back is called. */
async function shutPages(node: string, verdict: string): Promise<() => Promise<void>> {
  const { lab } = stage;
  const rule = `add table inet shut; add chain inet shut in { type filter hook input priority 0; }; add rule inet shut in tcp dport 7401 ${verdict}`;
  await lab.exec(node, ["nft", rule]);
  const open = async () => void (await lab.tryExec(node, ["nft", "delete", "table", "inet", "shut"]));
  undo(open);
  return open;
}

/** Holds what CRIU cannot carry, and says what this kernel let it have beside what it must have. */
const HOLDER = `
import ctypes, os, socket, time
libc = ctypes.CDLL(None, use_errno=True)
def must(result):
    if result < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
had = []
if libc.syscall(425, 4, ctypes.create_string_buffer(120)) >= 0: had.append("io-uring")
try:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); listener.bind(("", 8080)); listener.listen()
    had.append("mptcp")
except OSError: pass
gone = open("/gone", "w"); watch = must(libc.inotify_init()); must(libc.inotify_add_watch(watch, b"/gone", 2)); os.unlink("/gone")
outside = socket.socket(socket.AF_UNIX); outside.connect("/outside.sock")
os.makedirs("/mnt", exist_ok=True); must(libc.mount(b"none", b"/mnt", b"ramfs", 0, None))
print("had", *had, flush=True); time.sleep(3600)
`;

test("what CRIU cannot carry, and what ties a container to its host", async () => {
  const { lab } = stage;
  const name = "holds-all";
  const allowed = ["--rm", "--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined"];
  const options = [...allowed, "--volume=/run/docker.sock:/outside.sock"];
  const place = { node: stage.source, address: stage.address() };
  await stage.start({ ...place, name, image: TOOLS, command: ["python3", "-c", HOLDER], options });
  const had = await eventually(
    async () =>
      /^had(.*)$/m
        .exec(await lab.docker(stage.source, "logs", name))?.[1]
        ?.trim()
        .split(" "),
    { what: "it holds everything", deadlineMs: 20_000 },
  );
  await lab.docker(stage.source, "exec", "--detach", name, ...SLEEP);
  await expectRefused(name, [
    ...had.filter((code) => code !== ""),
    "auto-remove",
    "exec-sessions",
    "inotify-without-path",
    "local-storage",
    "mount-made-inside",
    "unix-socket-outside",
    "unknown-mount-type",
  ]);
});

test("what was set up in its network namespace", async () => {
  const { lab } = stage;
  const name = "set-up-inside";
  const address = stage.address();
  const container = await stage.start({ node: stage.source, name, address, image: TOOLS, command: SLEEP });
  const pid = await lab.docker(stage.source, "inspect", "--format", "{{.State.Pid}}", name);
  const commands = [
    "nft add table inet own",
    "nft add chain inet own in { type filter hook input priority 0 ; policy drop ; }",
    "tc qdisc add dev eth0 root tbf rate 100mbit burst 32kb latency 50ms",
    "ip route add 192.0.2.0/24 dev eth0",
    "ip rule add to 192.0.2.0/24 table 77",
    "ip link add own0 type veth peer name own1",
    "ip link set own0 up",
    "ip address add 192.0.2.1/32 dev lo",
    "ip neighbour add 192.0.2.7 lladdr 02:00:00:00:00:07 dev eth0 nud permanent",
    "ip xfrm policy add dir out src 192.0.2.0/24 dst 198.51.100.0/24 tmpl proto esp mode transport",
  ];
  for (const command of commands) {
    await lab.exec(stage.source, ["nsenter", `--target=${pid}`, "--net", "--", ...command.split(" ")]);
  }
  await expectRefused(name, [
    "addresses-inside",
    "interfaces-inside",
    "ipsec-inside",
    "neighbours-inside",
    "packet-filter-inside",
    "routes-inside",
    "routing-rules-inside",
    "traffic-control-inside",
  ]);
  await assertOneCopy(lab, container, stage.source);
});

test("sysctls that were changed in its network namespace, not those that Docker gave it", async () => {
  const { lab } = stage;
  const name = "tuned-inside";
  const options = ["--sysctl=net.ipv4.tcp_fin_timeout=30", "--sysctl=net.ipv4.ip_local_port_range=20000 30000"];
  const address = stage.address();
  const container = await stage.start({ node: stage.source, name, address, image: TOOLS, command: SLEEP, options });
  await knownToCluster(lab, name);
  const codes = async (...flags: string[]) =>
    (await verdictOn(lab, name, stage.destination, flags)).findings.map(({ code, severity }) => `${code} ${severity}`);
  expect(await codes()).not.toContainEqual(expect.stringContaining("sysctls-inside"));
  const pid = await lab.docker(stage.source, "inspect", "--format", "{{.State.Pid}}", name);
  const write = "echo 600 >/proc/sys/net/ipv4/tcp_keepalive_time";
  await lab.exec(stage.source, ["nsenter", `--target=${pid}`, "--net", "--", "sh", "-c", write]);
  const { ok, findings } = await verdictOn(lab, name, stage.destination);
  expect(ok).toBe(false);
  const found = findings.filter(({ code }) => code === "sysctls-inside");
  expect(found.map(({ message }) => message)).toEqual([
    expect.stringMatching(/: net\.ipv4\.tcp_keepalive_time is 600 instead of 7200\.$/),
  ]);
  expect((await lab.dray(["migrate", name, "--to", stage.destination])).exitCode).toBe(4);
  expect(await codes("--allow-sysctl-loss")).toContain("sysctls-inside note");
  await assertOneCopy(lab, container, stage.source);
});

test("processes of other users, only where CRIU cannot dump them", async () => {
  const { lab } = stage;
  const name = "other-user";
  const options = ["--network=none", "--user=65534"];
  await stage.start({ node: stage.source, name, image: TOOLS, command: SLEEP, options });
  await knownToCluster(lab, name);
  expect((await verdictOn(lab, name, stage.destination)).ok).toBe(true);
  // Where the lab has had to help CRIU out, it fails without that.
  if (hasSysResource(await lab.exec(stage.source, ["cat", "/proc/1/status"]))) return;
  await lab.shell(stage.source, 'mount --bind /usr/sbin/criu "$(command -v criu)"');
  undo(() => lab.shell(stage.source, `${UNMOUNT} "$(command -v criu)"`));
  await expectRefused(name, ["other-users-processes"]);
});

test("a container that has ended", async () => {
  const name = "has-ended";
  await stage.start({ node: stage.source, name, image: TOOLS, command: ["true"], options: ["--network=none"] });
  await expectRefused(name, ["not-running"]);
});

describe("on the destination", () => {
  test("a network that is not there, and a published port that is taken", async () => {
    const { lab } = stage;
    const name = "nowhere-to-go";
    await lab.docker(stage.source, "network", "create", "only-here");
    // After the container, which stage removes later.
    undo(() => lab.tryExec(stage.source, ["docker", "network", "rm", "--force", "only-here"]));
    undo(() => lab.tryExec(stage.source, ["docker", "rm", "--force", name]));
    const options = ["--network=only-here", "--publish=18081:80"];
    await stage.start({ node: stage.source, name, image: TOOLS, command: SLEEP, options });
    const listen = [NODE, "-e", "require('node:net').createServer().listen(18081)"];
    await lab.exec(stage.destination, ["systemd-run", "--unit=takes-port", "--collect", ...listen]);
    undo(() => lab.exec(stage.destination, ["systemctl", "stop", "takes-port"]));
    await eventually(
      async () => ((await lab.exec(stage.destination, ["ss", "-Htln", "sport = :18081"])) === "" ? undefined : true),
      { what: "the port is taken", deadlineMs: 15_000 },
    );
    await expectRefused(name, ["network-missing", "port-taken"]);
  });

  test("a page socket that the source does not reach: named, nothing is touched, placement goes elsewhere", async () => {
    const { lab } = stage;
    const name = "no-way-there";
    const place = { node: stage.source, address: stage.address() };
    const container = await stage.start({ ...place, name, image: TOOLS, command: SLEEP });
    await shutPages(stage.destination, "drop");
    await knownToCluster(lab, name);
    const { findings } = await verdictOn(lab, name, stage.destination);
    const message = findings.find(({ code }) => code === "pages-unreachable")?.message;
    expect(message).toContain(`${lab.nodeAddress(stage.destination)}:7401 (no TCP connection within 5000 ms)`);
    await expectRefused(name, ["pages-unreachable"]);
    expect(await lab.docker(stage.destination, "ps", "--all", "--format", "{{.Names}}")).not.toContain(name);
    await assertOneCopy(lab, container, stage.source);

    const open = await shutPages(stage.third, "reject with tcp reset");
    const refused = await lab.dray<{ error: { message: string } }>(["migrate", name]);
    expect(refused.exitCode).toBe(4);
    const { message: why } = refused.document.error;
    for (const node of [stage.destination, stage.third]) {
      expect(why).toContain(`${node}: This node does not reach the page socket of ${node}`);
    }
    expect(why).toMatch(/ECONNREFUSED/);
    await open();
    const { document } = await lab.dray<MigrationDocument>(["migrate", name]);
    expect(document).toMatchObject({ outcome: "completed", destination: stage.third });
    await assertOneCopy(lab, container, stage.third);
  });

  test("an address that another answers for", async () => {
    const { lab } = stage;
    const name = "not-alone";
    const address = stage.address();
    await stage.start({ node: stage.source, name, address, image: TOOLS, command: SLEEP });
    // The container answers, too.
    await lab.exec(stage.third, ["ip", "address", "add", `${address}/32`, "dev", "host0"]);
    undo(() => lab.exec(stage.third, ["ip", "address", "delete", `${address}/32`, "dev", "host0"]));
    await expectRefused(name, ["address-answered-by-another"]);
  });

  test("a CRIU that does not work on the kernel", async () => {
    const { lab } = stage;
    const name = "no-criu-there";
    const container = await stage.start({
      node: stage.source,
      name,
      address: stage.address(),
      image: TOOLS,
      command: SLEEP,
    });
    await lab.shell(stage.destination, UNFIT_CRIU);
    undo(async () => {
      await lab.shell(stage.destination, `${UNMOUNT} "$(command -v criu)"; rm -r /run/unfit-criu`);
      await lab.ready();
    });
    await knownToCluster(lab, name);
    const { findings } = await verdictOn(lab, name, stage.destination);
    const message = findings.find(({ code }) => code === "criu-check-failed")?.message;
    expect(message).toContain("Error (criu/cr-check.c:263): System call kcmp is not supported");
    await expectRefused(name, ["criu-check-failed"]);
    await assertOneCopy(lab, container, stage.source);
    // The node says so of itself, too, and is one like any other again when that is mended.
    const isReady = async () => {
      const { document } = await lab.dray<readonly { name: string; state: string }[]>(["node", "ls"]);
      return document.some((node) => node.name === stage.destination && node.state === "ready");
    };
    await eventually(async () => ((await isReady()) ? undefined : true), {
      what: `${stage.destination} is not ready`,
      deadlineMs: 30_000,
    });
  });

  test("a processor that lacks what the source's has", async () => {
    const { lab } = stage;
    const name = "needs-more";
    await stage.start({ node: stage.source, name, address: stage.address(), image: TOOLS, command: SLEEP });
    // A source whose CRIU reports a wider register file, and whose kernel an instruction set that nobody has.
    await lab.shell(stage.source, BETTER_PROCESSOR);
    undo(() => lab.shell(stage.source, `${UNMOUNT} "$(command -v criu)" /proc/cpuinfo; rm -r /run/better-processor`));
    await knownToCluster(lab, name);
    const { findings } = await verdictOn(lab, name, stage.destination);
    const message = findings.find(({ code }) => code === "cpu-differs")?.message;
    expect(message).toMatch(/lacks sse99; CRIU says: CPU /);
    await expectRefused(name, ["cpu-differs"]);
  });
});

const UNFIT_CRIU = `
mkdir /run/unfit-criu
cp --preserve=all "$(command -v criu)" /run/unfit-criu/real
cat >/run/unfit-criu/criu <<'END'
#!/bin/sh
[ "$*" = check ] || exec /run/unfit-criu/real "$@"
echo "Error (criu/cr-check.c:263): System call kcmp is not supported" >&2
echo "Does not look good."
exit 1
END
chmod +x /run/unfit-criu/criu
mount --bind /run/unfit-criu/criu "$(command -v criu)"
`;
const BETTER_PROCESSOR = `
mkdir /run/better-processor
cp --preserve=all "$(command -v criu)" /run/better-processor/real
cat >/run/better-processor/criu <<'END'
#!/bin/sh
[ "$1 $2" = "cpuinfo dump" ] || exec /run/better-processor/real "$@"
/run/better-processor/real "$@" || exit
exec ${NODE} /run/better-processor/widen.mjs "$4/cpuinfo.img"
END
cat >/run/better-processor/widen.mjs <<'END'
// Appends a second xfeatures_mask to the processor's entry: the last one counts.
import { readFileSync, writeFileSync } from "node:fs";
const image = readFileSync(process.argv[2]);
let at = 13;
while (image[at++] > 127);
const body = Buffer.concat([image.subarray(at), Buffer.from("40ffffffff7f", "hex")]);
const length = body.length < 128 ? [body.length] : [(body.length & 127) | 128, body.length >> 7];
const entry = Buffer.concat([Buffer.from([10, ...length]), body]);
const size = Buffer.alloc(4);
size.writeUInt32LE(entry.length);
writeFileSync(process.argv[2], Buffer.concat([image.subarray(0, 8), size, entry]));
END
chmod +x /run/better-processor/criu
sed 's/^flags.*/& sse99/' /proc/cpuinfo >/run/better-processor/cpuinfo
mount --bind /run/better-processor/cpuinfo /proc/cpuinfo
mount --bind /run/better-processor/criu "$(command -v criu)"
`;
