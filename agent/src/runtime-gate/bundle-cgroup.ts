/** The cgroup that a bundle asks for; known before runc has written any state. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { cgroupRoot } from "../host/cgroup.ts";

/** Absolute directory. Throws DrayError BAD_REQUEST if the bundle names none. */
export async function bundleCgroup(configJson: string): Promise<string> {
  const config = JSON.parse(configJson) as { linux?: { cgroupsPath?: unknown } };
  const path = config.linux?.cgroupsPath;
  if (typeof path !== "string" || path === "") throw new DrayError("BAD_REQUEST", "the bundle names no cgroup");
  return (await cgroupRoot()) + cgroupOfPath(path);
}

/** Pure: "slice:prefix:name" is the systemd driver's form, anything else a path. */
export function cgroupOfPath(path: string): string {
  const [slice, prefix, name, ...more] = path.split(":");
  if (slice === undefined || prefix === undefined || name === undefined || more.length > 0) {
    return path.startsWith("/") ? path : `/${path}`;
  }
  return `${slicePath(slice)}/${prefix === "" ? "" : `${prefix}-`}${name}.scope`;
}

/** a-b.slice lies in a.slice; "-.slice" is the root. */
function slicePath(slice: string): string {
  const parts = slice
    .replace(/\.slice$/, "")
    .split("-")
    .filter(Boolean);
  return parts.map((_, at) => `/${parts.slice(0, at + 1).join("-")}.slice`).join("");
}
