/**
 * `--format '{{.name}} {{.host.kernel}}'`: fields of the JSON document, one line for each.
 *
 * Which fields there are, an example tells: a document with everything that may be absent. Keys that are not the
 * document's own, as of labels, stand in it as an empty object.
 */
import { usageError } from "../parse/usage-error.ts";

const FIELD = /\{\{\s*(.*?)\s*\}\}/g;

/** `--format` as it was given, if it can be filled from documents like the example. Throws BAD_REQUEST. */
export function parseFormat(text: string, example: object): string {
  if (text === "table" || text === "json") return text;
  const remedy = `Write table, json, or a template with fields in braces, such as ${exampleTemplate(example)}.`;
  if (/\{\{|\}\}/.test(text.replaceAll(FIELD, ""))) throw usageError(`"${text}" has braces without their pair`, remedy);
  const expressions = [...text.matchAll(FIELD)].map(([, expression = ""]) => expression);
  if (expressions.length === 0) throw usageError(`"${text}" has no field`, remedy);
  for (const expression of expressions) {
    if (!/^\.[\w.-]*$/.test(expression)) throw usageError(`"{{${expression}}}" is not a field`, remedy);
    demandField(expression.slice(1), example);
  }
  return text;
}

/** Fills a template that `parseFormat` has let pass. What a document does not have, is empty. */
export function fillTemplate(template: string, document: unknown): string {
  return template.replaceAll(FIELD, (_, expression: string) => {
    const value = pathOf(expression.slice(1)).reduce(fieldOf, document);
    return value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
  });
}

/** Of the first two fields. */
export function exampleTemplate(example: object): string {
  return Object.keys(example)
    .slice(0, 2)
    .map((name) => `{{.${name}}}`)
    .join(" ");
}

function demandField(path: string, example: unknown): void {
  let place: unknown = example;
  let above = "";
  for (const name of pathOf(path)) {
    if (isOpen(place)) return;
    const next = Array.isArray(place) && /^\d+$/.test(name) ? place[0] : fieldOf(place, name);
    if (next === undefined || next === null) {
      throw usageError(
        `there is no field "${path}"`,
        `${above === "" ? "There are" : `${above} has`} ${fieldsOf(place)}.`,
      );
    }
    place = next;
    above = above === "" ? name : `${above}.${name}`;
  }
}

/** Any name may stand below it. */
function isOpen(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

function fieldsOf(value: unknown): string {
  if (Array.isArray(value)) return "0, 1 and so on below it";
  return typeof value === "object" && value !== null ? Object.keys(value).join(", ") : "nothing below it";
}

function pathOf(path: string): string[] {
  return path === "" ? [] : path.split(".");
}

function fieldOf(value: unknown, name: string): unknown {
  if (value === null) return null;
  if (typeof value !== "object") return undefined;
  return Object.entries(value as object).find(([key]) => key === name)?.[1];
}
