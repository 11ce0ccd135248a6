// Pages by the address's fragment, which no server sees: `#/consumers/jane?tab=jwt`.
import { store } from "./store";

export interface Place {
  path: string[];
  query: URLSearchParams;
}

function read(): Place {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: path.split("/").filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
}

export const place = store<Place>(read());

addEventListener("hashchange", () => place.set(read()));

/** The address of a page. */
export function to(...path: string[]): string {
  return "#/" + path.map(encodeURIComponent).join("/");
}

export function go(address: string): void {
  location.hash = address;
}
