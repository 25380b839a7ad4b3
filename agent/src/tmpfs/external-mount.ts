/** How CRIU is told that a mount is not its business; see `--external` in criu(8). Pure. */

/** As the images name it. */
function keyOf(number: number): string {
  return `drayage-tmpfs-${number}`;
}

/** For a dump: the mounts' content is left out. */
export function leftOut(mountPoints: readonly string[]): string[] {
  return mountPoints.map((mountPoint, number) => `external mnt[${mountPoint}]:${keyOf(number)}`);
}

/** For a restore: what is mounted on these directories here is bound in the mounts' places. */
export function takenFrom(directories: ReadonlyMap<number, string>): string[] {
  return [...directories].map(([number, directory]) => `external mnt[${keyOf(number)}]:${directory}`);
}
