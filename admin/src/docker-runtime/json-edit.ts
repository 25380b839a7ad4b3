/**
 * Changes single members of a JSON document and leaves every other byte as it
 * is: order, indentation, spelling of numbers and strings.
 *
 * The text must be valid JSON (JSON.parse has accepted it); the scanner relies
 * on that. Where a key stands twice, the last one counts, as for JSON.parse.
 */

interface Member {
  readonly key: string;
  readonly keyStart: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

interface ObjectSpan {
  /** Index of the opening brace. */
  readonly open: number;
  /** Index of the closing brace. */
  readonly close: number;
  readonly members: readonly Member[];
}

/** Sets the member at `path`, making the objects on the way; `value` must be JSON data. */
export function setMember(text: string, path: readonly [string, ...string[]], value: unknown): string {
  let object = rootObject(text);
  for (const [depth, key] of path.entries()) {
    const rest = path.slice(depth + 1);
    const nested = rest.reduceRight<unknown>((inner, outer) => ({ [outer]: inner }), value);
    const member = findMember(object, key);
    if (!member) return insertMember(text, object, key, nested);
    if (rest.length === 0) {
      return splice(
        text,
        member.valueStart,
        member.valueEnd,
        layOut(text, nested, indentBefore(text, member.keyStart)),
      );
    }
    object = objectAt(text, member.valueStart);
  }
  return text;
}

/** Removes the member at `path`, every occurrence of it; the text as it was if there is none. */
export function removeMember(text: string, path: readonly [string, ...string[]]): string {
  let object = rootObject(text);
  for (const key of path.slice(0, -1)) {
    const member = findMember(object, key);
    if (!member) return text;
    object = objectAt(text, member.valueStart);
  }
  const last = path.at(-1) ?? path[0];
  const index = object.members.findLastIndex((member) => member.key === last);
  const member = object.members[index];
  if (!member) return text;
  return removeMember(withoutMember(text, object, index, member), path);
}

function withoutMember(text: string, object: ObjectSpan, index: number, member: Member): string {
  const previous = object.members[index - 1];
  const next = object.members[index + 1];
  if (previous) return splice(text, previous.valueEnd, member.valueEnd, "");
  if (next) return splice(text, member.keyStart, next.keyStart, "");
  return splice(text, object.open + 1, object.close, "");
}

function insertMember(text: string, object: ObjectSpan, key: string, value: unknown): string {
  const last = object.members.at(-1);
  if (last) {
    const before = object.members.at(-2);
    const gap = before
      ? text.slice(text.indexOf(",", before.valueEnd) + 1, last.keyStart)
      : text.slice(object.open + 1, last.keyStart);
    const indent = indentBefore(text, last.keyStart);
    return splice(text, last.valueEnd, last.valueEnd, `,${gap}${memberText(text, key, value, indent)}`);
  }
  const outer = indentBefore(text, object.open);
  const inner = outer === undefined ? undefined : outer + indentUnit(text);
  const body = memberText(text, key, value, inner);
  return splice(text, object.open + 1, object.close, inner === undefined ? body : `\n${inner}${body}\n${outer}`);
}

function memberText(text: string, key: string, value: unknown, indent: string | undefined): string {
  return `${JSON.stringify(key)}: ${layOut(text, value, indent)}`;
}

/** Lays a value out for a member that stands at `indent`; on one line when the members do. */
function layOut(text: string, value: unknown, indent: string | undefined): string {
  if (indent === undefined) return JSON.stringify(value);
  return JSON.stringify(value, undefined, indentUnit(text)).replaceAll("\n", `\n${indent}`);
}

/** White space before the first non-blank of this line; undefined unless `index` begins its line, or the document. */
function indentBefore(text: string, index: number): string | undefined {
  const lineStart = text.lastIndexOf("\n", index - 1) + 1;
  const lead = text.slice(lineStart, index);
  if (/^[ \t\uFEFF]*$/.test(lead)) return lead.replace("\uFEFF", "");
  // A brace that follows its key, on a line that the key begins.
  const key = /^([ \t]*)"(?:[^"\\]|\\.)*"[ \t]*:[ \t]*$/.exec(lead);
  return key ? key[1] : undefined;
}

function indentUnit(text: string): string {
  return /\n([ \t]+)"/.exec(text)?.[1] ?? "    ";
}

function splice(text: string, from: number, to: number, replacement: string): string {
  return text.slice(0, from) + replacement + text.slice(to);
}

function findMember(object: ObjectSpan, key: string): Member | undefined {
  return object.members.findLast((member) => member.key === key);
}

function rootObject(text: string): ObjectSpan {
  return objectAt(text, skipBlank(text, text.startsWith("\uFEFF") ? 1 : 0));
}

function objectAt(text: string, open: number): ObjectSpan {
  if (text[open] !== "{") throw new TypeError("not an object");
  const members: Member[] = [];
  let at = skipBlank(text, open + 1);
  while (text[at] !== "}") {
    const keyEnd = stringEnd(text, at);
    const key: unknown = JSON.parse(text.slice(at, keyEnd));
    const valueStart = skipBlank(text, skipBlank(text, keyEnd) + 1);
    const valueEnd = endOfValue(text, valueStart);
    members.push({ key: String(key), keyStart: at, valueStart, valueEnd });
    at = skipBlank(text, valueEnd);
    if (text[at] === ",") at = skipBlank(text, at + 1);
  }
  return { open, close: at, members };
}

function skipBlank(text: string, from: number): number {
  let at = from;
  while (at < text.length && " \t\r\n".includes(text.charAt(at))) at++;
  return at;
}

function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

function endOfValue(text: string, start: number): number {
  let depth = 0;
  let at = start;
  do {
    const character = text.charAt(at);
    if (character === '"') {
      at = stringEnd(text, at);
    } else if (character === "{" || character === "[") {
      depth++;
      at++;
    } else if (character === "}" || character === "]") {
      depth--;
      at++;
    } else if (depth > 0) {
      at++;
    } else {
      while (at < text.length && !" \t\r\n,}]".includes(text.charAt(at))) at++;
    }
  } while (depth > 0);
  return at;
}
