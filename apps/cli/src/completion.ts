import type { Command, Completion, Option } from "./command.ts";
import { globalOptions } from "./parse.ts";

const visible = (commands: readonly Command[]): readonly Command[] => commands.filter(({ hidden }) => hidden !== true);

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** Shell words that print what may stand there; nothing for free text. */
const candidates = (completion: Completion | undefined): string => {
  if (completion === undefined || completion === "files") return "";
  return typeof completion === "string"
    ? `bulkhead __complete ${completion} 2>/dev/null`
    : `printf '%s\\n' ${completion.join(" ")}`;
};

const optionWords = (options: readonly Option[]): string =>
  options.flatMap(({ name, short }) => [`--${name}`, ...(short === undefined ? [] : [`-${short}`])]).join(" ");

const patterns = ({ name, short }: Option): string =>
  [`--${name}`, ...(short === undefined ? [] : [`-${short}`])].join("|");

const groupWords = (commands: readonly Command[]): string =>
  [...new Set(commands.filter(({ path }) => path.length === 2).map(({ path }) => path[0] ?? ""))].join("|");

/** One `case` arm per command: its options, what follows each of them, what its positionals are. */
const bashArm = (command: Command): string => {
  const options = [...command.options, ...globalOptions];
  const values = options
    .filter(({ value }) => value !== undefined)
    .map((option) => {
      const words = candidates(option.complete);
      return option.complete === "files"
        ? `        ${patterns(option)}) files=1; return ;;`
        : `        ${patterns(option)}) words=$(${words === "" ? ":" : words}); return ;;`;
    });
  const completion = command.positionals[0]?.complete;
  const rest =
    completion === "files" ? "files=1" : `words=$(${candidates(completion) === "" ? ":" : candidates(completion)})`;
  return [
    `    ${quote(command.path.join(" "))})`,
    `      case "$prev" in`,
    ...values,
    `      esac`,
    `      if [[ $cur == -* ]]; then words=${quote(optionWords(options))}; else ${rest}; fi ;;`,
  ].join("\n");
};

const shellFunction = (commands: readonly Command[]): string => {
  const first = [...new Set(commands.map(({ path }) => path[0]))].join(" ");
  const groups = [...new Set(commands.filter(({ path }) => path.length === 2).map(({ path }) => path[0] ?? ""))];
  const second = groups.map((group) => {
    const words = commands.filter(({ path }) => path.length === 2 && path[0] === group).map(({ path }) => path[1]);
    return `        ${group}) words=${quote(words.join(" "))} ;;`;
  });
  return [
    "# sets words or files; reads cur, prev and the line's words in line",
    "_bulkhead_words() {",
    '  local command=""',
    "  words= files=",
    "  if (( ${#line[@]} <= 1 )); then",
    `    words=${quote(first)}; return`,
    "  fi",
    '  command="${line[1]}"',
    '  case "$command" in',
    `    ${groupWords(commands)})`,
    "      if (( ${#line[@]} == 2 )) && [[ $cur != -* ]]; then",
    '        case "$command" in',
    ...second,
    "        esac",
    "        return",
    "      fi",
    '      case "${line[2]}" in -*) ;; *) command="$command ${line[2]}" ;; esac ;;',
    "  esac",
    '  case "$command" in',
    ...commands.map(bashArm),
    "  esac",
    "}",
  ].join("\n");
};

const bash = (
  commands: readonly Command[],
): string => `# bash completion for bulkhead: source <(bulkhead completion bash)
${shellFunction(commands)}
_bulkhead() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" words files
  local -a line=("\${COMP_WORDS[@]:0:COMP_CWORD}")
  _bulkhead_words
  if [[ -n $files ]]; then compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur")
  else mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur"); fi
}
complete -F _bulkhead bulkhead
`;

const zsh = (commands: readonly Command[]): string => `#compdef bulkhead
# zsh completion for bulkhead: source <(bulkhead completion zsh)
${shellFunction(commands)}
_bulkhead() {
  emulate -L zsh -o ksh_arrays -o sh_word_split
  local cur="\${words[CURRENT-1]}" prev="\${words[CURRENT-2]}" files
  local -a line
  line=("\${words[@]:0:CURRENT-1}")
  local words
  _bulkhead_words
  if [[ -n $files ]]; then _files; else local -a found; found=($words); emulate zsh -c 'compadd -a found'; fi
}
if [ "$funcstack[1]" = "_bulkhead" ]; then _bulkhead "$@"; else compdef _bulkhead bulkhead; fi
`;

const fishCandidates = (completion: Completion | undefined): string => {
  if (completion === undefined) return " -f";
  if (completion === "files") return " -F";
  return typeof completion === "string"
    ? ` -f -a '(bulkhead __complete ${completion} 2>/dev/null)'`
    : ` -f -a '${completion.join(" ")}'`;
};

const fish = (commands: readonly Command[]): string => {
  const lines = ["# fish completion for bulkhead", "complete -c bulkhead -f"];
  for (const command of commands) {
    const [first = "", second] = command.path;
    const others = commands
      .filter(({ path }) => path.length === 2 && path[0] === first)
      .map(({ path }) => path[1] ?? "");
    const within =
      second !== undefined
        ? `__fish_seen_subcommand_from ${first}; and __fish_seen_subcommand_from ${second}`
        : `__fish_seen_subcommand_from ${first}${others.length === 0 ? "" : `; and not __fish_seen_subcommand_from ${others.join(" ")}`}`;
    const before =
      second === undefined
        ? "__fish_use_subcommand"
        : `__fish_seen_subcommand_from ${first}; and not __fish_seen_subcommand_from ${others.join(" ")}`;
    lines.push(`complete -c bulkhead -n '${before}' -a ${second ?? first} -d ${quote(command.summary)}`);
    const completion = command.positionals[0]?.complete;
    if (completion !== undefined) lines.push(`complete -c bulkhead -n '${within}'${fishCandidates(completion)}`);
    for (const option of command.options) {
      const short = option.short === undefined ? "" : ` -s ${option.short}`;
      const value = option.value === undefined ? "" : ` -r${fishCandidates(option.complete)}`;
      lines.push(
        `complete -c bulkhead -n '${within}' -l ${option.name}${short}${value} -d ${quote(option.description)}`,
      );
    }
  }
  for (const option of globalOptions) {
    const short = option.short === undefined ? "" : ` -s ${option.short}`;
    const value = option.value === undefined ? "" : ` -r${fishCandidates(option.complete)}`;
    lines.push(`complete -c bulkhead -l ${option.name}${short}${value} -d ${quote(option.description)}`);
  }
  return `${lines.join("\n")}\n`;
};

/** The completion script of a shell, made from the command table; undefined for a shell we have none for. */
export const completionScript = (shell: string, commands: readonly Command[]): string | undefined => {
  const shown = visible(commands);
  if (shell === "bash") return bash(shown);
  if (shell === "zsh") return zsh(shown);
  return shell === "fish" ? fish(shown) : undefined;
};
