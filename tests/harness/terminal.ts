/** A terminal that a container has, and somebody who types at it. */
import type { TestLab } from "./test-lab.ts";

/** Types one line at the container's terminal and leaves it. */
export async function typeAt(lab: TestLab, node: string, container: string, line: string): Promise<void> {
  // `script` gives docker the terminal that attach to a terminal demands; the last two keys detach.
  await lab.shell(
    node,
    `{ printf '%s\\n' "$2"; sleep 1; printf '\\020\\021'; sleep 1; } | script --quiet --command "docker attach $1" /dev/null`,
    container,
    line,
  );
}
