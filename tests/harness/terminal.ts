/** A terminal that a container has, and somebody who types at it. */
import type { TestLab } from "./test-lab.ts";

/**
 * `script` gives docker the terminal that attach to a terminal demands. It neither echoes nor holds back a key: what
 * comes back is the container's echo, so the line has been taken; the two keys at the end detach.
 */
const TYPE = `
coproc terminal { script --quiet --command "stty raw -echo; echo attaching; exec docker attach $1" /dev/null; }
attached=$terminal_PID
exec 3<&"\${terminal[0]}" 4>&"\${terminal[1]}"
shows() {
  while IFS= read -r shown <&3; do
    case $shown in *"$1"*) return ;; esac
  done
  echo "the terminal ended before it showed: $1" >&2
  return 1
}
shows attaching
printf '%s\\n' "$2" >&4
shows "$2"
printf '\\020\\021' >&4
wait "$attached"
`;

/** Types one line at the container's terminal and leaves it. */
export async function typeAt(lab: TestLab, node: string, container: string, line: string): Promise<void> {
  await lab.exec(node, ["bash", "-euc", TYPE, "bash", container, line]);
}
