/**
 * What a root file system is made of. A recipe is data: its digest names the
 * result in the cache, so that a change of the recipe makes a new one.
 */
import { createHash } from "node:crypto";

export const SUITES = ["forky", "trixie"] as const;
export type Suite = (typeof SUITES)[number];

export interface Recipe {
  readonly name: string;
  readonly suite: Suite;
  /** mmdebstrap's variant: what besides the packages is installed. */
  readonly variant: "minbase" | "extract";
  readonly packages: readonly string[];
  /** Packages that come from another suite, because this one's are too old. */
  readonly pinned?: { readonly suite: Suite; readonly packages: readonly string[] };
  /** Files left out, as dpkg globs. */
  readonly excluded: readonly string[];
  /** Files written afterwards, by absolute path. */
  readonly files: Readonly<Record<string, string>>;
  /** Symbolic links made afterwards: path to target. */
  readonly links: Readonly<Record<string, string>>;
  /** Paths removed afterwards. */
  readonly removed: readonly string[];
}

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const DOCUMENTATION = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*"];

/** Where mmdebstrap leaves the options it was given; packages installed later are to be installed whole. */
export const BUILD_OPTIONS = ["/etc/dpkg/dpkg.cfg.d/99mmdebstrap", "/etc/apt/apt.conf.d/99mmdebstrap"];

const NODE_PACKAGES = [
  "ca-certificates",
  "containerd",
  "criu",
  "curl",
  "dbus",
  "docker-cli",
  "docker.io",
  "etcd-client",
  "etcd-server",
  "iproute2",
  "iputils-ping",
  "iptables",
  "jq",
  "kmod",
  "netcat-openbsd",
  "nftables",
  "procps",
  "python3-minimal",
  "runc",
  "systemd",
  "systemd-sysv",
  "tar",
  "xz-utils",
  "zstd",
];

/** CRIU before 4.2 cannot dump inet sockets on kernels from 6.16 on, and the host may have one. */
const CRIU_PACKAGES = ["criu", "libcompel1", "libnet9", "libnl-3-200"];

const NETWORK_UNIT = `[Unit]
Description=Address of the node on the lab's network
DefaultDependencies=no
Before=network-pre.target network.target network-online.target
Wants=network-pre.target network-online.target
After=local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/etc/lab/network
ExecStart=/usr/bin/ip link set dev host0 up
ExecStart=/usr/bin/ip address replace \${LAB_ADDRESS} dev host0
ExecStart=/usr/bin/ip route replace default via \${LAB_GATEWAY}

[Install]
WantedBy=multi-user.target
`;

/** Units that only cost time in a node. */
const SILENCED_UNITS = [
  "apt-daily-upgrade.timer",
  "apt-daily.timer",
  "dpkg-db-backup.timer",
  "e2scrub_all.timer",
  "fstrim.timer",
  "man-db.timer",
  "systemd-networkd.service",
  "systemd-networkd.socket",
  "systemd-networkd-wait-online.service",
  "systemd-resolved.service",
  "systemd-timesyncd.service",
  "console-getty.service",
  "nftables.service",
];

/** For nodes on the host's kernel, or on the suite's own: that has the CRIU that goes with it. */
export function nodeRecipe(suite: Suite, kernel: "host" | "own"): Recipe {
  return {
    name: `node-${suite}`,
    suite,
    variant: "minbase",
    packages: NODE_PACKAGES,
    ...(suite === "forky" || kernel === "own" ? {} : { pinned: { suite: "forky", packages: CRIU_PACKAGES } }),
    excluded: DOCUMENTATION,
    files: {
      "/etc/systemd/system/lab-network.service": NETWORK_UNIT,
      // The journal of a node is read by `lab exec`; a bound keeps a long-lived lab small.
      "/etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=persistent\nSystemMaxUse=200M\nRateLimitBurst=0\n",
      "/etc/machine-id": "",
    },
    links: {
      "/etc/systemd/system/multi-user.target.wants/lab-network.service": "/etc/systemd/system/lab-network.service",
      ...Object.fromEntries(SILENCED_UNITS.map((unit) => [`/etc/systemd/system/${unit}`, "/dev/null"])),
    },
    removed: [
      // etcd is enabled once it has been configured as a member of the cluster.
      "/etc/systemd/system/multi-user.target.wants/etcd.service",
      "/etc/systemd/system/etcd2.service",
      ...BUILD_OPTIONS,
    ],
  };
}

/** Names a recipe's result: the digest of everything that goes into it. */
export function recipeDigest(recipe: object): string {
  return createHash("sha256").update(canonical(recipe)).digest("hex");
}

/** JSON with sorted keys. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

export function aptSources(recipe: Recipe, mirror: string): string[] {
  const suites = [recipe.suite, ...(recipe.pinned === undefined ? [] : [recipe.pinned.suite])];
  return suites.map((suite) => `deb [signed-by=${KEYRING}] ${mirror} ${suite} main`);
}

/** apt's preferences: everything from the recipe's suite, except the pinned packages. */
export function aptPreferences(recipe: Recipe): string {
  if (recipe.pinned === undefined) return "";
  const { suite, packages } = recipe.pinned;
  return [
    "Package: *",
    `Pin: release n=${suite}`,
    "Pin-Priority: 100",
    "",
    `Package: ${packages.join(" ")}`,
    `Pin: release n=${suite}`,
    "Pin-Priority: 990",
    "",
  ].join("\n");
}

export interface MmdebstrapPaths {
  readonly target: string;
  /** A file with aptPreferences(). */
  readonly preferences: string;
}

export function mmdebstrapArgv(recipe: Recipe, mirror: string, paths: MmdebstrapPaths): string[] {
  return [
    "mmdebstrap",
    "--mode=root",
    "--format=directory",
    `--variant=${recipe.variant}`,
    // A suite in development is not re-signed while nothing changes.
    '--aptopt=Acquire::Check-Valid-Until "false"',
    '--aptopt=Acquire::Languages "none"',
    // What a power cut leaves half written is thrown away with its scratch directory.
    "--dpkgopt=force-unsafe-io",
    ...recipe.excluded.map((glob) => `--dpkgopt=path-exclude=${glob}`),
    `--setup-hook=mkdir -p "$1/etc/apt/preferences.d"`,
    `--setup-hook=copy-in ${paths.preferences} /etc/apt/preferences.d`,
    `--include=${recipe.packages.join(",")}`,
    recipe.suite,
    paths.target,
    ...aptSources(recipe, mirror),
  ];
}
