import { expect, test } from "vitest";
import { deviceNumber, parseWatches } from "./file-watches.ts";

test("watches of an inotify descriptor", () => {
  const fdinfo = `pos:	0
flags:	00
mnt_id:	17
ino:	1038
inotify wd:3 ino:5200ad sdev:87 mask:2 ignored_mask:0 fhandle-bytes:20 fhandle-type:f8 f_handle:00000000fb1d
inotify wd:1 ino:ffffffffffffff01 sdev:fe00001 mask:102 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:18c0
`;
  expect(parseWatches(fdinfo)).toEqual([
    { device: "0:135", inode: "5374125" },
    { device: "254:1", inode: "18446744073709551361" },
  ]);
  expect(parseWatches("pos:\t0\nflags:\t02\n")).toEqual([]);
});

test("numbers of devices as stat shows them", () => {
  expect(deviceNumber("0:135")).toBe("135");
  expect(deviceNumber("254:1")).toBe("65025");
  expect(deviceNumber("0:300")).toBe(String(0x10002c));
});
