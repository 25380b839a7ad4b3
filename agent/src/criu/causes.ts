import type { Diagnosis } from "./diagnosis.ts";
export interface Cause extends Omit<Diagnosis, "line"> { readonly pattern: RegExp }
export const CAUSES: readonly Cause[] = [];
