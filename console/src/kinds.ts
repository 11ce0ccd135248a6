// The collections that have pages, and how each is named and listed.
import type { Entity } from "./api";

export interface Kind {
  path: string;
  title: string;
  one: string;
  lead: string;
  /** What an entity is called. */
  name(entity: Entity): string;
}

const short = (entity: Entity): string => String(entity.id).slice(0, 8);

export const KINDS: Record<string, Kind> = {
  consumers: { path: "consumers", title: "Consumers", one: "consumer", lead: "Who calls, and with which credentials.", name: (entity) => entity.username ?? entity.custom_id ?? short(entity) },
  services: { path: "services", title: "Services", one: "service", lead: "Where requests go.", name: (entity) => entity.name ?? entity.host ?? short(entity) },
  routes: { path: "routes", title: "Routes", one: "route", lead: "Which requests go to which service.", name: (entity) => entity.name ?? short(entity) },
  plugins: { path: "plugins", title: "Plugins", one: "plugin", lead: "What is asked of requests, and where.", name: (entity) => entity.instance_name ?? entity.name },
};

/** A service's address, as one URL. */
export function urlOf(service: Entity): string {
  const standard = { http: 80, https: 443 }[service.protocol as string];
  return `${service.protocol}://${service.host}${service.port === standard ? "" : `:${service.port}`}${service.path ?? ""}`;
}

export const matches = (route: Entity): string[] => [
  ...(route.methods ?? []),
  ...(route.hosts ?? []),
  ...(route.paths ?? []),
  ...Object.entries(route.headers ?? {}).map(([name, values]) => `${name}: ${(values as string[]).join(", ")}`),
  ...(route.snis ?? []).map((sni: string) => `SNI ${sni}`),
];
