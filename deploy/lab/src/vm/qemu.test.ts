import { expect, it } from "vitest";
import { CONTROL_MAC, nodeMac, qemuArgv } from "./qemu.ts";

const OPTIONS = {
  machine: "abcdef-n1",
  kernel: "/cache/vm/vmlinuz",
  initramfs: "/lab/n1/initramfs",
  disk: "/lab, with a comma/n1/disk.qcow2",
  consoleLog: "/lab/n1/console.log",
  port: "vb-abcdef-n1",
  mac: nodeMac("abcdef", 1),
  controlPort: "vc-abcdef-n1",
};

it("emulates the processor, without the instruction that QEMU has wrong", () => {
  const argv = qemuArgv(OPTIONS);
  const after = (option: string) => argv[argv.indexOf(option) + 1];
  expect(after("-accel")).toMatch(/^tcg,thread=multi/);
  expect(after("-cpu")).toBe("max,-cx16");
  expect(after("-machine")).toBe("q35");
  expect(after("-rtc")).toBe("base=utc");
});

it("has one interface on the lab's network and one for commands, made by QEMU itself", () => {
  const argv = qemuArgv(OPTIONS);
  expect(argv).toContain("tap,id=lab,ifname=vb-abcdef-n1,script=no,downscript=no");
  expect(argv).toContain("tap,id=control,ifname=vc-abcdef-n1,script=no,downscript=no");
  expect(argv).toContain("virtio-net-pci,netdev=lab,mac=02:ab:cd:ef:00:01,romfile=");
  expect(argv).toContain(`virtio-net-pci,netdev=control,mac=${CONTROL_MAC},romfile=`);
});

it("keeps a comma in a path from being a separator", () => {
  expect(qemuArgv(OPTIONS).find((word) => word.startsWith("if=none"))).toContain(
    "file=/lab,, with a comma/n1/disk.qcow2,format=qcow2",
  );
});

it("gives every node of every lab an address of its own, none of them that of the control interface", () => {
  expect(new Set([nodeMac("abcdef", 1), nodeMac("abcdef", 2), nodeMac("abcdee", 1), CONTROL_MAC]).size).toBe(4);
});
