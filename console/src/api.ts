// The Admin API on the page's own origin, and whether it answers.
//
// The admin token lives in this module's memory alone: neither in storage nor in a cookie. Nothing is asked of any other host.
import { store } from "./store";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Entity = { [name: string]: any };

/** What is wrong with a request, as the Admin API says it. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly body: { message?: string; name?: string; code?: number; fields?: any },
  ) {
    super(body.message || `The Admin API answered ${status}.`);
  }
}

/** No answer at all. */
export class Unreachable extends Error {
  constructor() {
    super("The gateway does not answer.");
  }
}

export type Connection = "ok" | "lost" | "locked";

/** Whether the gateway answers, and whether it asks for the admin token. */
export const connection = store<Connection>("ok");
/** Counts up when the gateway is back: what was loaded before is loaded again. */
export const epoch = store(0);
/** What `/status` said last. */
export const status = store<Entity | null>(null);
/** What `/` says: version and settings. */
export const node = store<Entity | null>(null);

let token = "";

export function unlock(given: string): void {
  token = given;
}

const PATIENCE = 20_000;

export async function call<T = Entity>(method: string, path: string, body?: Json | Entity): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (token) headers["Kong-Admin-Token"] = token;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response: Response;
  let text: string;
  try {
    response = await fetch("api" + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(PATIENCE),
    });
    text = await response.text();
  } catch {
    if (connection.get() === "ok") connection.set("lost");
    throw new Unreachable();
  }
  if (response.status === 401) {
    connection.set("locked");
    throw new Refused(401, { message: "The Admin API asks for its token." });
  }
  if (connection.get() !== "ok") {
    connection.set("ok");
    epoch.set(epoch.get() + 1);
  }
  const answer = parse(text);
  if (!response.ok) throw new Refused(response.status, typeof answer === "object" && answer ? answer : { message: text });
  return answer as T;
}

export const get = <T = Entity>(path: string): Promise<T> => call<T>("GET", path);

function parse(text: string): any {
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Asks whether the gateway is there, again and again; more often while it is not. */
export function watch(): void {
  const beat = async (): Promise<void> => {
    if (!document.hidden || connection.get() === "lost") {
      try {
        status.set(await get("/status"));
        if (!node.get() || started !== epoch.get()) {
          node.set(await get("/"));
          started = epoch.get();
        }
      } catch {
        // `connection` says it.
      }
    }
    setTimeout(beat, connection.get() === "lost" ? 1_000 : 3_000);
  };
  let started = -1;
  void beat();
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) get("/status").then(status.set, () => {});
  });
}

/** Whether entities come from files, and cannot be written one by one. */
export const isReadOnly = (): boolean => {
  const known = status.get();
  return !!known && "configuration_hash" in known;
};

/** Where the Admin API is for a shell. */
function base(): string {
  const listens: unknown = node.get()?.configuration?.admin_listen;
  const first = String(Array.isArray(listens) ? listens[0] : listens ?? "").split(",")[0] ?? "";
  const address = /^(\S+):([1-9]\d*)/.exec(first.trim());
  if (!address || first.startsWith("unix:")) return location.origin + location.pathname.replace(/[^/]*$/, "") + "api";
  const any = ["0.0.0.0", "[::]", "*"].includes(address[1]!);
  return `${/\bssl\b/.test(first) ? "https" : "http"}://${any ? location.hostname : address[1]}:${address[2]}`;
}

/** Fields that are not written into a command line: it is read over shoulders and kept in histories. */
const SECRET = new Set(["secret", "client_secret", "session_secret", "password", "provision_key", "token"]);

const masked = (name: string, value: unknown): unknown => (Array.isArray(value) ? [`\u0001${name}\u0001`] : `\u0001${name}\u0001`);

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** The command that does the same. */
export function curl(method: string, path: string, body?: Json | Entity): string {
  const words = ["curl"];
  if (method !== "GET") words.push("-X", method);
  if (token) words.push("-H", '"Kong-Admin-Token: $ADMIN_TOKEN"');
  const url = base() + path;
  words.push(/[?&*;()!$ ]/.test(url) ? quoted(url) : url);
  if (body !== undefined) {
    const text = JSON.stringify(body, (name, value) => ((SECRET.has(name) || (name === "key" && path.includes("/key-auth"))) && value ? masked(name, value) : value));
    const shown = quoted(text).replace(/\u0001|\\u0001/g, "\u0001").replace(/\u0001(\w+)\u0001/g, (_, name: string) => `'"$${name.toUpperCase()}"'`);
    words.push("-H", "'Content-Type: application/json'", "-d", shown);
  }
  return words.join(" ");
}
