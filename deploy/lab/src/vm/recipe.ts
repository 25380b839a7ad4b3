/**
 * What a virtual machine is made of: the root of a container node and an SSH
 * daemon, a kernel with its modules, and a first root that mounts the disk.
 */
import { nodeRecipe, type Recipe, type Suite } from "../rootfs/recipe.ts";
import { NODE_PATH } from "../node/ready.ts";
import { CONTROL_ADDRESS, CONTROL_INTERFACE } from "./control.ts";
import { CONTROL_MAC } from "./qemu.ts";

export interface VmRecipe {
  readonly name: string;
  readonly root: Recipe;
  /** Only unpacked: what comes from it is the kernel, its modules and busybox. */
  readonly boot: Recipe;
  /** Modules without which the disk and the network are not found. */
  readonly firstModules: readonly string[];
  /** `/init` of the first root. */
  readonly init: string;
  readonly diskBytes: number;
}

const GIB = 1024 ** 3;

/** It listens on the control link alone, where nobody but the lab's host is. */
const CONTROL_CONFIG = `ListenAddress ${CONTROL_ADDRESS}%${CONTROL_INTERFACE}
HostKey /etc/lab/host_key
AuthorizedKeysFile /etc/lab/authorized_keys
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxStartups 100
SetEnv PATH=${NODE_PATH} LANG=C.UTF-8
LogLevel ERROR
`;

/** Its interface has its address from the first root. */
const CONTROL_UNIT = `[Unit]
Description=Commands from the lab's host
DefaultDependencies=no
StartLimitIntervalSec=0

[Service]
Type=exec
RuntimeDirectory=sshd
Restart=always
RestartSec=1
ExecStart=/usr/sbin/sshd -D -e -f /etc/lab/sshd_config

[Install]
WantedBy=multi-user.target
`;

/** Services have the time that an emulated processor takes. */
const PATIENCE = "[Manager]\nDefaultTimeoutStartSec=600s\nDefaultDeviceTimeoutSec=600s\n";

/**
 * There is no udev: a getty would wait for its device, and interfaces get their names in the first root. The others only
 * cost an emulated processor its time.
 */
const SILENCED_UNITS = [
  "ssh.service",
  "ssh.socket",
  "getty@tty1.service",
  "serial-getty@ttyS0.service",
  "modprobe@configfs.service",
  "modprobe@drm.service",
  "modprobe@efi_pstore.service",
  "modprobe@fuse.service",
  "systemd-logind.service",
  "sys-kernel-debug.mount",
  "sys-kernel-tracing.mount",
];
/** Makes units for SSH on sockets that this machine does not have, and complains of it. */
const SILENCED_GENERATOR = "/etc/systemd/system-generators/systemd-ssh-generator";

const INIT = `#!/bin/busybox sh
set -e
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /target /first
/bin/busybox --install /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
[ -c /dev/null ] || mount -t devtmpfs devtmpfs /dev
for module in $(cat /modules/order); do insmod "/modules/$module"; done

for interface in /sys/class/net/eth*; do
  case $(cat "$interface/address") in
    ${CONTROL_MAC}) name=${CONTROL_INTERFACE} ;;
    *) name=host0 ;;
  esac
  ip link set "$(basename "$interface")" name "$name"
done
ip address add ${CONTROL_ADDRESS}/64 dev ${CONTROL_INTERFACE}
ip link set ${CONTROL_INTERFACE} up

mount -t ext4 -o noinit_itable /dev/vda /target
cp -a /node/. /target/
cd /first
find . -type f | while read -r file; do
  [ -e "/target/$file" ] || { mkdir -p "/target/$(dirname "$file")"; cp -p "$file" "/target/$file"; }
done
cd /

umount /proc /sys
mount --move /dev /target/dev
exec switch_root /target /sbin/init
`;

export function vmRecipe(suite: Suite): VmRecipe {
  const node = nodeRecipe(suite, "own");
  return {
    name: `vm-${suite}`,
    root: {
      ...node,
      packages: [...node.packages, "openssh-server"],
      files: {
        ...node.files,
        "/etc/lab/sshd_config": CONTROL_CONFIG,
        "/etc/systemd/system/lab-control.service": CONTROL_UNIT,
        "/etc/systemd/system.conf.d/lab.conf": PATIENCE,
      },
      links: {
        ...node.links,
        "/etc/systemd/system/multi-user.target.wants/lab-control.service": "/etc/systemd/system/lab-control.service",
        ...Object.fromEntries(SILENCED_UNITS.map((unit) => [`/etc/systemd/system/${unit}`, "/dev/null"])),
        [SILENCED_GENERATOR]: "/dev/null",
        "/etc/systemd/system/default.target": "/usr/lib/systemd/system/multi-user.target",
      },
    },
    boot: {
      name: `kernel-${suite}`,
      suite,
      variant: "extract",
      packages: ["linux-image-cloud-amd64", "busybox-static"],
      excluded: node.excluded,
      files: {},
      links: {},
      removed: [],
    },
    firstModules: ["virtio_pci", "virtio_blk", "virtio_net", "ext4"],
    init: INIT,
    diskBytes: 16 * GIB,
  };
}
