// The schema tables of the Admin API as forms need them: defaults, what changed, and errors by field.
import type { Entity, Refused } from "./api";

export interface Def {
  type: string;
  fields?: Record<string, Def>[];
  elements?: Def;
  keys?: Def;
  values?: Def;
  default?: any;
  required?: boolean;
  one_of?: any[];
  between?: [number, number];
  gt?: number;
  auto?: boolean;
  reference?: string;
  encrypted?: boolean;
}

export const fieldsOf = (def: Def): [string, Def][] => (def.fields ?? []).map((field) => Object.entries(field)[0]!);

export function defaultOf(def: Def): any {
  if (def.default !== undefined) return def.default;
  if (def.type === "record" && def.required) return defaultsOf(def);
  return null;
}

export function defaultsOf(def: Def): Entity {
  return Object.fromEntries(fieldsOf(def).map(([name, field]) => [name, defaultOf(field)]));
}

const isRecord = (value: any): value is Entity => typeof value === "object" && value !== null && !Array.isArray(value);

export function same(a: any, b: any): boolean {
  if (a === b || (a ?? null) === (b ?? null)) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, at) => same(item, b[at]));
  if (!isRecord(a) || !isRecord(b)) return false;
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every((name) => same(a[name], b[name]));
}

/** What of `after` is not in `before`; records of the schema are compared field by field, since the API merges them. */
export function changes(def: Def, before: Entity, after: Entity): Entity {
  const out: Entity = {};
  const known = new Map(fieldsOf(def));
  for (const [name, value] of Object.entries(after)) {
    if (same(before[name], value)) continue;
    const field = known.get(name);
    out[name] = field?.type === "record" && isRecord(value) && isRecord(before[name]) ? changes(field, before[name], value) : value;
  }
  return out;
}

export function at(tree: any, path: string[]): any {
  return path.reduce((node, name) => (node === null || typeof node !== "object" ? undefined : node[name]), tree);
}

export function put(tree: Entity, path: string[], value: any): Entity {
  const [first, ...rest] = path;
  if (first === undefined) return value;
  return { ...tree, [first]: rest.length ? put(isRecord(tree[first]) ? tree[first] : {}, rest, value) : value };
}

/** Errors by field, in words, from an answer of the Admin API. */
export function errorTree(refused: Refused): any {
  const fields = refused.body.fields;
  if (!isRecord(fields)) return {};
  switch (refused.body.code) {
    case 5:
      return Object.fromEntries(Object.keys(fields).map((name) => [name, "is in use already; it must be unique"]));
    case 4:
      return Object.fromEntries(Object.keys(fields).map((name) => [name, name.startsWith("@") ? refused.message : "there is no such entity"]));
    default:
      return fields;
  }
}

/** Every message of a tree of errors, with the path of its field. */
export function messages(tree: any, path: string[] = []): [string[], string][] {
  if (typeof tree === "string") return [[path, tree]];
  if (typeof tree !== "object" || tree === null) return [];
  return Object.entries(tree).flatMap(([name, inner]) => messages(inner, /^\d+$/.test(name) || name.startsWith("@") ? path : [...path, name]));
}

/** A list in a text area: one item a line. */
export const toLines = (value: any): string => (Array.isArray(value) ? value.map((item) => (typeof item === "object" ? JSON.stringify(item) : String(item))).join("\n") : "");

export function fromLines(text: string, elements: Def | undefined): any[] | null {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!lines.length) return null;
  return lines.map((line) => scalar(line, elements?.type));
}

/** What was typed as what the schema wants; what does not fit is sent as it is, for the API to say why. */
export function scalar(text: string, type: string | undefined): any {
  if ((type === "integer" || type === "number") && text.trim() !== "" && Number.isFinite(Number(text))) return Number(text);
  if (type === "boolean" && (text === "true" || text === "false")) return text === "true";
  if (type === "record" || type === "map" || type === "array" || type === "set" || type === "json") {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  return text;
}

/** `name: value` lines for maps of words, or of lists of words. */
export function mapToLines(value: any): string {
  return isRecord(value) ? Object.entries(value).map(([name, inner]) => `${name}: ${Array.isArray(inner) ? inner.join(", ") : inner}`).join("\n") : "";
}

export function mapFromLines(text: string, values: Def | undefined): Entity | null {
  const out: Entity = {};
  for (const line of text.split("\n")) {
    const cut = line.indexOf(":");
    const name = (cut < 0 ? line : line.slice(0, cut)).trim();
    if (!name) continue;
    const value = cut < 0 ? "" : line.slice(cut + 1).trim();
    const list = values?.type === "array" || values?.type === "set";
    out[name] = list ? value.split(",").map((item) => scalar(item.trim(), values?.elements?.type)).filter((item) => item !== "") : scalar(value, values?.type);
  }
  return Object.keys(out).length ? out : null;
}
