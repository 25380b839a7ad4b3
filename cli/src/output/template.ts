/** `--format '{{.name}} {{.host.kernel}}'`: fields of the JSON document, one line for each. */
import { usageError } from "../parse/usage-error.ts";

/** Fills a template from a document. Throws BAD_REQUEST for a field that the document does not have. */
export function fillTemplate(template: string, document: unknown): string {
  return template.replaceAll(/\{\{\s*(.*?)\s*\}\}/g, (_, expression: string) => {
    const match = /^\.([\w.-]*)$/.exec(expression);
    if (!match) throw usageError(`"{{${expression}}}" is not a field`, "Write {{.name}} or {{.host.kernel}}.");
    const path = match[1] ?? "";
    const value = path === "" ? document : path.split(".").reduce(fieldOf, document);
    if (value === undefined) throw usageError(`there is no field "${path}"`, "See the fields with --json.");
    return typeof value === "string" ? value : JSON.stringify(value);
  });
}

function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.entries(value).find(([key]) => key === name)?.[1];
}
