/** Container images of the lab: Debian packages in a root of their own. No registry is needed. */
import { BUILD_OPTIONS, type Recipe } from "../rootfs/recipe.ts";

export const IMAGE_NAMES = ["redis", "debian-tools", "postgres"] as const;
export type ImageName = (typeof IMAGE_NAMES)[number];

export interface ImageRecipe {
  readonly name: ImageName;
  readonly rootfs: Recipe;
  /** Instructions of `docker import --change`. */
  readonly changes: readonly string[];
}

/** One suite for all labs: what runs in a container has nothing to do with the node's own suite. */
const SUITE = "trixie";

const EXCLUDED = [
  "/usr/share/doc/*",
  "/usr/share/man/*",
  "/usr/share/info/*",
  "/usr/share/locale/*",
  "/usr/share/lintian/*",
  "/usr/share/zoneinfo/*",
  "/usr/lib/*/perl-base/*",
];

/** Packages are only unpacked, so what their scripts would have written is written here. */
const ACCOUNTS = {
  "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
  "/etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
};

const SHELL_PACKAGES = ["base-files", "coreutils", "dash", "libc-bin", "grep", "sed", "findutils"];

function unpacked(name: ImageName, packages: readonly string[], files: Readonly<Record<string, string>> = {}): Recipe {
  return {
    name: `image-${name}`,
    suite: SUITE,
    variant: "extract",
    packages: [...SHELL_PACKAGES, ...packages],
    excluded: EXCLUDED,
    files: { ...ACCOUNTS, ...files },
    links: {},
    removed: ["/var/lib/apt/lists", "/var/cache", ...BUILD_OPTIONS],
  };
}

const RECIPES: Readonly<Record<ImageName, ImageRecipe>> = {
  redis: {
    name: "redis",
    rootfs: unpacked("redis", ["redis-server", "redis-tools"], { "/data/.keep": "" }),
    changes: [
      "WORKDIR /data",
      "EXPOSE 6379",
      'CMD ["redis-server", "--protected-mode", "no", "--save", "", "--appendonly", "no"]',
    ],
  },
  "debian-tools": {
    name: "debian-tools",
    rootfs: unpacked("debian-tools", [
      "bash",
      "python3",
      "iproute2",
      "procps",
      "netcat-openbsd",
      "util-linux",
      "tar",
      "attr",
    ]),
    changes: ['CMD ["bash"]'],
  },
  postgres: {
    name: "postgres",
    rootfs: {
      name: "image-postgres",
      suite: SUITE,
      variant: "minbase",
      packages: ["postgresql", "procps"],
      excluded: ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*"],
      files: {
        "/usr/local/bin/lab-postgres":
          "#!/bin/sh\nset -eu\n" +
          'data=/var/lib/postgresql/lab\nbin=$(echo /usr/lib/postgresql/*/bin)\nexport PATH="$bin:$PATH"\n' +
          'if [ ! -s "$data/PG_VERSION" ]; then\n' +
          '  initdb --pgdata="$data" --auth=trust --username=postgres >/dev/null\n' +
          '  echo "host all all all trust" >>"$data/pg_hba.conf"\nfi\n' +
          'exec postgres -D "$data" -c listen_addresses="*"\n',
      },
      links: {},
      removed: ["/var/cache/apt", ...BUILD_OPTIONS],
    },
    changes: [
      "USER postgres",
      "WORKDIR /var/lib/postgresql",
      "EXPOSE 5432",
      'CMD ["sh", "/usr/local/bin/lab-postgres"]',
    ],
  },
};

export function imageRecipe(name: ImageName): ImageRecipe {
  return RECIPES[name];
}
