/** Configuration from the environment: key `leaseTtlSeconds` is `DRAYAGE_LEASE_TTL_SECONDS`. Pure. */
import type { z } from "zod";
import type { Layer } from "./load.ts";

export function environmentName(key: string): string {
  return `DRAYAGE_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** Variables that name no key are left alone: other programs have theirs under the same prefix. */
export function environmentLayer(schema: z.ZodObject, env: Readonly<Record<string, string | undefined>>): Layer {
  const values: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(schema.shape)) {
    const text = env[environmentName(key)];
    if (text !== undefined) values[key] = fromText(text, kindOf(field));
  }
  return { place: "environment", values };
}

/** The innermost type of a field, below defaults and optionals. */
function kindOf(field: z.core.$ZodType): string {
  const definition = field._zod.def;
  return "innerType" in definition ? kindOf(definition.innerType as z.core.$ZodType) : definition.type;
}

/** Lists are `a,b`, maps `k=v,k=v`; a text that does not fit is kept for the schema to refuse. */
function fromText(text: string, kind: string): unknown {
  const parts = () => (text === "" ? [] : text.split(",").map((part) => part.trim()));
  switch (kind) {
    case "array":
      return parts();
    case "record":
      return parts().every((part) => part.includes("=")) ? Object.fromEntries(parts().map(splitPair)) : text;
    case "number":
      return /^-?\d+(?:\.\d+)?$/.test(text) ? Number(text) : text;
    // A word or a number.
    case "union":
      return fromText(text, "number");
    case "boolean":
      return text === "true" ? true : text === "false" ? false : text;
    default:
      return text;
  }
}

function splitPair(part: string): [string, string] {
  const at = part.indexOf("=");
  return [part.slice(0, at), part.slice(at + 1)];
}
