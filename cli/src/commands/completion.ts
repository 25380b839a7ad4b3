/** `dray completion bash | zsh | fish`: subcommands and options, from the commands themselves. */
import { Argument, type Command } from "commander";
import type { CommandContext } from "../context.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;
type Shell = (typeof SHELLS)[number];

export function addCompletionCommand(program: Command, context: CommandContext): void {
  program
    .command("completion")
    .description("prints a completion script for a shell")
    .addArgument(new Argument("<shell>").choices(SHELLS))
    .action((shell: Shell) => context.terminal.data(completionScript(shell, program)));
}

/** The words that may follow a command: by the command's path, "" for dray itself. */
export function completionWords(program: Command): Map<string, string[]> {
  const words = new Map<string, string[]>();
  const visit = (command: Command, path: string) => {
    const options = command.options.flatMap((option) => (option.long ? [option.long] : []));
    words.set(path, [...command.commands.map((sub) => sub.name()), ...options, "--help"]);
    for (const sub of command.commands) visit(sub, path === "" ? sub.name() : `${path} ${sub.name()}`);
  };
  visit(program, "");
  return words;
}

export function completionScript(shell: Shell, program: Command): string {
  const words = completionWords(program);
  return shell === "fish" ? fishScript(words) : bashScript(words, shell === "zsh");
}

function bashScript(words: Map<string, string[]>, isZsh: boolean): string {
  const cases = [...words].map(([path, choices]) => `    "${path}") choices="${choices.join(" ")}" ;;`);
  return [
    ...(isZsh ? ["#compdef dray", "autoload -U +X bashcompinit && bashcompinit"] : []),
    "_dray() {",
    '  local word="${COMP_WORDS[COMP_CWORD]}" path="" choices="" i',
    "  for ((i = 1; i < COMP_CWORD; i++)); do",
    '    case "${COMP_WORDS[i]}" in -*) ;; *) [ "$(_dray_words "${path:+$path }${COMP_WORDS[i]}")" ] && path="${path:+$path }${COMP_WORDS[i]}" ;; esac',
    "  done",
    '  COMPREPLY=($(compgen -W "$(_dray_words "$path")" -- "$word"))',
    "}",
    "_dray_words() {",
    "  local choices=",
    '  case "$1" in',
    ...cases,
    "  esac",
    '  echo "$choices"',
    "}",
    "complete -F _dray dray",
  ].join("\n");
}

function fishScript(words: Map<string, string[]>): string {
  const lines = ["complete -c dray -f"];
  for (const [path, choices] of words) {
    const [first, second] = path.split(" ");
    const condition =
      path === ""
        ? "__fish_use_subcommand"
        : second
          ? `__fish_seen_subcommand_from ${first}; and __fish_seen_subcommand_from ${second}`
          : `__fish_seen_subcommand_from ${first}`;
    for (const choice of choices) {
      const what = choice.startsWith("--") ? `-l ${choice.slice(2)}` : `-a ${choice}`;
      lines.push(`complete -c dray -n '${condition}' ${what}`);
    }
  }
  return lines.join("\n");
}
