/** A container that was told much, before and after a move: what Docker says of it, and what the kernel does. */
import { expect, test } from "vitest";
import { eventually } from "../harness/eventually.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { metricsOf, sumOf } from "../harness/prometheus.ts";
import { Stage } from "./stage.ts";

const stage = new Stage("configuration", ["debian-tools"]);

/** Allows everything but to make directories. */
const SECCOMP_PATH = "/root/no-directories.json";
const SECCOMP = JSON.stringify({
  defaultAction: "SCMP_ACT_ALLOW",
  syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO" }],
});

const OPTIONS = [
  ...["--env=ONE=two words", "--label=some=label", "--add-host=other:192.0.2.9", "--dns=192.0.2.53"],
  ...["--user=1234:4321", "--group-add=5", "--cap-add=NET_ADMIN", "--cap-drop=MKNOD"],
  ...[
    "--security-opt=no-new-privileges",
    `--security-opt=seccomp=${SECCOMP_PATH}`,
    "--sysctl=net.core.somaxconn=1024",
    "--ulimit=nofile=1000:2000",
  ],
  ...["--init", "--tty", "--interactive", "--restart=unless-stopped", "--stop-signal=INT", "--stop-timeout=7"],
  ...["--health-cmd=test -e /cache/kept", "--health-interval=1s"],
  ...["--tmpfs=/cache:mode=1777,size=8m", "--shm-size=32m", "--oom-score-adj=100"],
];

/** Tries to make a directory whenever it is told to, by a process that has its seccomp filters from the shell. */
const COMMAND = `
trap 'mkdir /cache/made >/cache/tried 2>&1; echo >>/cache/tried' USR1
sleep 3600 &
while kill -0 $!; do wait; done
`;

/** What its processes have, its first and the one it was started for. */
const PORTRAIT = `
for pid in 1 "$(pgrep -x bash)" "$(pgrep -x sleep)"; do
  grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp)' "/proc/$pid/status"
  cat "/proc/$pid/limits" "/proc/$pid/oom_score_adj"
  tr '\\0' '\\n' <"/proc/$pid/environ" | sort
done
uname -n; cat /cache/kept /proc/sys/net/core/somaxconn /sys/class/net/eth0/address
ip -o -4 address show eth0 | grep -o 'inet [0-9./]*'
grep other /etc/hosts; grep 192.0.2.53 /etc/resolv.conf
grep -E ' /(cache|dev/shm) ' /proc/mounts
`;

interface Inspected {
  readonly Config: Readonly<Record<string, unknown>>;
  readonly HostConfig: Readonly<Record<string, unknown>>;
  readonly NetworkSettings: {
    readonly Networks: Readonly<Record<string, { readonly IPAddress: string; readonly MacAddress: string }>>;
  };
  readonly State: { readonly Health?: { readonly Status: string } };
}

test("everything that it was told holds on the other side", async () => {
  const { lab } = stage;
  const address = stage.address();
  const macAddress = "02:64:72:00:fc:01";
  await lab.writeFile(stage.source, SECCOMP_PATH, SECCOMP);
  const container = await stage.start({
    ...{ node: stage.source, name: "told-much", image: "debian-tools:latest", address, macAddress },
    options: OPTIONS,
    command: ["bash", "-c", COMMAND],
  });
  const inside = (node: string, script: string) => lab.docker(node, "exec", container.name, "sh", "-c", script);
  const inspect = async (node: string): Promise<Inspected> => {
    const [inspected] = JSON.parse(await lab.docker(node, "inspect", container.name)) as [Inspected];
    return inspected;
  };
  const healthy = (node: string) =>
    eventually(async () => ((await inspect(node)).State.Health?.Status === "healthy" ? true : undefined), {
      what: `its health is checked on ${node}`,
      deadlineMs: 30_000,
    });
  const settings = async (node: string) => {
    const { Config, HostConfig, NetworkSettings } = await inspect(node);
    // Docker's ids of image and network are each host's own; the copy's runtime is drayage, and it has no image's entry point.
    const { Image: _image, Entrypoint: _entrypoint, MacAddress: _mac, ...config } = Config;
    const { Runtime: _runtime, NetworkMode: _mode, ...host } = HostConfig;
    const networks = Object.entries(NetworkSettings.Networks).map(([name, { IPAddress, MacAddress }]) => ({
      ...{ name, IPAddress, MacAddress },
    }));
    return { config, host, networks };
  };

  /** What becomes of a system call that the profile forbids, in a process that moved. */
  const tried = async (node: string) => {
    await inside(node, "rm -f /cache/tried; pkill -USR1 -x bash");
    return await eventually(async () => /^.+$/m.exec(await inside(node, "cat /cache/tried"))?.[0], {
      what: `it has tried on ${node}`,
      deadlineMs: 10_000,
    });
  };

  await inside(stage.source, "echo kept >/cache/kept");
  await healthy(stage.source);
  const [told, portrait] = [await settings(stage.source), await inside(stage.source, PORTRAIT)];
  expect(told.networks).toEqual([{ name: "dray", IPAddress: address, MacAddress: macAddress }]);
  expect(portrait).toContain("ONE=two words");
  expect(portrait.match(/^Seccomp:\t2$/gm)).toHaveLength(3);
  expect(told.host["SecurityOpt"]).toContain(`seccomp=${SECCOMP}`);
  expect(await tried(stage.source)).toContain("Operation not permitted");
  for (const to of [stage.destination, stage.source]) {
    await migrate(lab, container.name, to);
    expect(await settings(to)).toEqual(told);
    expect(await inside(to, PORTRAIT)).toBe(portrait);
    expect(await tried(to)).toContain("Operation not permitted");
    await healthy(to);
    await assertOneCopy(lab, container, to);
    expect(sumOf(await metricsOf(lab, to, "agent"), "drayage_migration_phase_duration_seconds_count")).toBeGreaterThan(
      0,
    );
  }
  await stage.nothingElseLeft();
});
