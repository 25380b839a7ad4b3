/** The command line of a node's QEMU. */

/** The processor is emulated: the same everywhere, on hosts without hardware virtualisation as well. */
const ACCELERATOR = "tcg,thread=multi,tb-size=512";
/** Everything that QEMU emulates, without cmpxchg16b: QEMU 7.2 has it wrong, and Linux dies of it. */
const PROCESSOR = "max,-cx16";
const PROCESSORS = 2;
export const MEMORY_MIB = 2048;

/** By its address the node's init knows the interface on which commands come in; see recipe.ts. */
export const CONTROL_MAC = "06:6c:61:62:00:02";

export interface QemuOptions {
  readonly machine: string;
  readonly kernel: string;
  readonly initramfs: string;
  readonly disk: string;
  readonly consoleLog: string;
  /** The interface of the host on the lab's bridge, and the address of the node's end. */
  readonly port: string;
  readonly mac: string;
  /** The interface of the host over which commands go. */
  readonly controlPort: string;
}

/** The address of a node's interface, derived as its port's name is: no two labs share one. */
export function nodeMac(id: string, index: number): string {
  const octets = [...(id.match(/../g) ?? []), "00", index.toString(16).padStart(2, "0")];
  return `02:${octets.join(":")}`;
}

export function qemuArgv(options: QemuOptions): string[] {
  const { machine, kernel, initramfs, disk, consoleLog, port, mac, controlPort } = options;
  return [
    "qemu-system-x86_64",
    ...["-name", value(machine)],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none"],
    ...["-machine", "q35", "-accel", ACCELERATOR, "-cpu", PROCESSOR],
    ...["-smp", String(PROCESSORS), "-m", String(MEMORY_MIB)],
    ...["-rtc", "base=utc"],
    ...["-kernel", kernel, "-initrd", initramfs, "-append", KERNEL_PARAMETERS],
    // A kernel that panics or reboots is a node that is off.
    "-no-reboot",
    // What the node has flushed is in the host's page cache, which outlives a power cut of the node.
    ...["-drive", `if=none,id=disk,file=${value(disk)},format=qcow2,cache=unsafe,discard=unmap`],
    ...["-device", "virtio-blk-pci,drive=disk"],
    ...networkCard("lab", port, mac),
    ...networkCard("control", controlPort, CONTROL_MAC),
    ...["-chardev", `file,id=console,path=${value(consoleLog)},append=on`, "-serial", "chardev:console"],
  ];
}

const KERNEL_PARAMETERS = "console=ttyS0 quiet panic=1 mitigations=off audit=0";

/** QEMU makes the interface of the host, which goes with QEMU. */
function networkCard(id: string, port: string, mac: string): string[] {
  return [
    ...["-netdev", `tap,id=${id},ifname=${port},script=no,downscript=no`],
    ...["-device", `virtio-net-pci,netdev=${id},mac=${mac},romfile=`],
  ];
}

/** A value in a list of options, in which commas separate. */
function value(text: string): string {
  return text.replaceAll(",", ",,");
}
