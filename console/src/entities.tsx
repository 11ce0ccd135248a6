// Lists and forms of services, routes, consumers and plugins.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { call, connection, epoch, get, isReadOnly, node, status, type Entity } from "./api";
import { SchemaForm, saved } from "./form";
import { useLoad } from "./hooks";
import { KINDS, matches, urlOf } from "./kinds";
import { go, to } from "./router";
import { defaultsOf, fieldsOf, type Def } from "./schema";
import { useStore } from "./store";
import { announce, Badge, Button, ButtonLink, Card, Confirm, Curl, Empty, Note, Page, Show, Table, Tags, Time, type Column } from "./ui";
import { Credentials } from "./credentials";

const SIZE = 50;

/** Why nothing can be written here, where that is so. */
export function ReadOnly() {
  useStore(status);
  const settings = useStore(node)?.configuration;
  if (!isReadOnly()) return null;
  const files = String(settings?.declarative_config ?? "");
  return (
    <Note title="Read only: this gateway runs without a database">
      Its configuration comes from {files ? <code>{files}</code> : "a declarative document"}. To change something, edit the file and reload (SIGHUP), or send a whole
      configuration to <code>POST /config</code>. To write here, start it with a database: <code>PORTCULLIS_DATABASE=sqlite:portcullis.db</code>.
    </Note>
  );
}

const cache = new Map<string, Promise<Entity | null>>();
epoch.watch(() => cache.clear());

/** Another entity by its name, with a link. */
export function Ref({ kind, id }: { kind: string; id: string | undefined }) {
  const [entity, set] = useState<Entity | null>(null);
  useEffect(() => {
    if (!id) return;
    const key = `/${kind}/${id}`;
    if (!cache.has(key)) cache.set(key, get(key).catch(() => null));
    let here = true;
    void cache.get(key)!.then((found) => here && set(found));
    return () => { here = false; };
  }, [kind, id]);
  if (!id) return <span class="muted">–</span>;
  return <a href={to(kind, id)}>{entity ? KINDS[kind]!.name(entity) : id.slice(0, 8)}</a>;
}

export function Scope({ plugin }: { plugin: Entity }) {
  const parts = (["service", "route", "consumer"] as const).filter((name) => plugin[name]?.id);
  if (!parts.length) return <Badge tone="info">every request</Badge>;
  return <>{parts.map((name) => <span class="scope" key={name}><span class="muted">{name}</span> <Ref kind={`${name}s`} id={plugin[name].id} /> </span>)}</>;
}

function columns(kind: string): Column<Entity>[] {
  const named: Column<Entity> = { head: "Name", cell: (entity) => <a href={to(kind, entity.id)}>{KINDS[kind]!.name(entity)}</a> };
  const tags: Column<Entity> = { head: "Tags", cell: (entity) => <Tags of={entity.tags} /> };
  const enabled: Column<Entity> = { head: "State", cell: (entity) => (entity.enabled === false ? <Badge tone="warn">off</Badge> : <Badge tone="good">on</Badge>) };
  switch (kind) {
    case "services":
      return [named, { head: "URL", cell: (entity) => <code>{urlOf(entity)}</code> }, enabled, tags];
    case "routes":
      return [named, { head: "Takes", cell: (entity) => <span class="tags">{matches(entity).map((part) => <code key={part}>{part}</code>)}</span> }, { head: "Service", cell: (entity) => <Ref kind="services" id={entity.service?.id} /> }, tags];
    case "consumers":
      return [{ ...named, head: "Username" }, { head: "Custom id", cell: (entity) => entity.custom_id ?? <span class="muted">–</span> }, { head: "Created", cell: (entity) => <Time at={entity.created_at} /> }, tags];
    default:
      return [{ head: "Plugin", cell: (entity) => <><a href={to(kind, entity.id)}>{entity.name}</a>{entity.instance_name && <span class="muted"> {entity.instance_name}</span>}</> }, { head: "Applies to", cell: (entity) => <Scope plugin={entity} /> }, enabled, tags];
  }
}

/** A collection, page by page. */
export function List({ kind }: { kind: string }) {
  const about = KINDS[kind]!;
  useStore(status);
  return (
    <Page title={about.title} lead={about.lead} actions={!isReadOnly() && <ButtonLink kind="primary" href={to(kind, "new")}>New {about.one}</ButtonLink>}>
      <ReadOnly />
      <Listing kind={kind} path={`/${about.path}`} find />
    </Page>
  );
}

/** The entities at a path. `find` looks one up by its name or id. */
export function Listing({ kind, path, find, title, actions }: { kind: string; path: string; find?: boolean; title?: string; actions?: ComponentChildren }) {
  const about = KINDS[kind]!;
  const [offsets, turn] = useState<string[]>([]);
  const [tag, narrow] = useState("");
  const query = new URLSearchParams({ size: String(SIZE) });
  const offset = offsets.at(-1);
  if (offset) query.set("offset", offset);
  if (tag) query.set("tags", tag);
  const address = `${path}?${query}`;
  const page = useLoad<{ data: Entity[]; offset?: string }>(address);
  return (
    <Card title={title} actions={actions} curl={<Curl path={address} />}>
      {find && <Find kind={kind} onTag={(value) => { turn([]); narrow(value); }} />}
      <Show of={page}>
        {({ data, offset: next }) => (
          <>
            {data.length > 0 ? <Table caption={about.title} columns={columns(kind)} rows={data} id={(entity) => entity.id} /> : (
              <Empty title={tag ? `No ${about.one} has the tag ${tag}` : `No ${about.title.toLowerCase()} yet`}>
                {!tag && !isReadOnly() && find && <ButtonLink href={to(kind, "new")}>Make the first {about.one}</ButtonLink>}
              </Empty>
            )}
            {(offsets.length > 0 || next) && (
              <nav class="pages" aria-label={`Pages of ${about.title.toLowerCase()}`}>
                <Button disabled={!offsets.length} onClick={() => turn(offsets.slice(0, -1))}>Previous</Button>
                <span class="muted">Page {offsets.length + 1}</span>
                <Button disabled={!next} onClick={() => next && turn([...offsets, next])}>Next</Button>
              </nav>
            )}
          </>
        )}
      </Show>
    </Card>
  );
}

function Find({ kind, onTag }: { kind: string; onTag(tag: string): void }) {
  const [text, type] = useState("");
  const [miss, say] = useState("");
  const about = KINDS[kind]!;
  const what = kind === "consumers" ? "username, custom id or id" : kind === "plugins" ? "instance name or id" : "name or id";
  const look = async (event: Event): Promise<void> => {
    event.preventDefault();
    say("");
    const wanted = text.trim();
    if (wanted.startsWith("tag:") || wanted === "") return onTag(wanted.slice(4).trim());
    try {
      const found = await get(`/${about.path}/${encodeURIComponent(wanted)}`);
      return go(to(kind, found.id));
    } catch {
      // Not a name; perhaps an id of another system.
    }
    if (kind === "consumers") {
      const page = await get(`/consumers?custom_id=${encodeURIComponent(wanted)}`).catch(() => null);
      if (page?.data?.length) return go(to(kind, page.data[0].id));
    }
    if (connection.get() === "ok") say(`No ${about.one} is called ${wanted}.`);
  };
  return (
    <form class="find" role="search" onSubmit={look}>
      <label class="unseen" for="find">Find a {about.one} by {what}, or tag:NAME</label>
      <input id="find" type="search" placeholder={`Find by ${what}, or tag:NAME`} value={text} spellcheck={false} onInput={(event) => type(event.currentTarget.value)} />
      <Button type="submit">Find</Button>
      <span role="status" class="field-error">{miss}</span>
    </form>
  );
}

/** The schema of a form: a service's address is one URL; a plugin's configuration is its own. */
function useSchema(kind: string, plugin: string | undefined): { data: Def | null; error: Error | null; loading: boolean; reload(): void } {
  const own = useLoad<Def>(`/schemas/${kind}`);
  const special = useLoad<Def>(kind === "plugins" && plugin ? `/schemas/plugins/${plugin}` : null);
  if (!own.data || (kind === "plugins" && plugin && !special.data)) return { ...own, data: null, error: own.error ?? special.error };
  let fields = fieldsOf(own.data);
  if (kind === "services") {
    const parts = ["protocol", "host", "port", "path"];
    fields = [["url", { type: "string", required: true }], ...fields.filter(([name]) => !parts.includes(name))];
  }
  if (special.data) {
    const named = new Map(fieldsOf(special.data));
    fields = fields.map(([name, def]) => [name, named.get(name) ?? def]);
    fields = fields.filter(([, def]) => !("eq" in def));
  }
  return { ...own, data: { type: "record", fields: fields.map(([name, def]) => ({ [name]: def })) } };
}

function forForm(kind: string, entity: Entity): Entity {
  return kind === "services" ? { ...entity, url: urlOf(entity) } : entity;
}

export function Create({ kind, query }: { kind: string; query: URLSearchParams }) {
  const about = KINDS[kind]!;
  const [plugin, choose] = useState<string | undefined>(query.get("name") ?? undefined);
  const schema = useSchema(kind, plugin);
  const enabled = useLoad<{ enabled_plugins: string[] }>(kind === "plugins" ? "/plugins/enabled" : null);
  const from: Entity = {};
  for (const name of ["service", "route", "consumer"]) if (query.get(name)) from[name] = { id: query.get(name) };
  const create = async (body: Entity): Promise<void> => {
    const made = await call("POST", `/${about.path}`, body);
    saved(about.one);
    go(to(kind, made.id));
  };
  return (
    <Page title={`New ${about.one}`}>
      <ReadOnly />
      <Card>
        {kind === "plugins" && (
          <Show of={enabled}>
            {({ enabled_plugins }) => (
              <div class="field">
                <label for="plugin-name">plugin</label>
                <select id="plugin-name" value={plugin ?? ""} onChange={(event) => choose(event.currentTarget.value || undefined)}>
                  <option value="">Choose a plugin</option>
                  {enabled_plugins.map((name) => <option key={name} value={name}>{name}</option>)}
                </select>
              </div>
            )}
          </Show>
        )}
        {(kind !== "plugins" || plugin) && (
          <Show of={schema}>
            {(def) => {
              const blank = defaultsOf(def);
              // What the link asked for is there from the start, and is sent.
              const fixed = { ...(plugin ? { name: plugin } : {}), ...from };
              return <>
                {Object.keys(from).length > 0 && <Note>For {Object.keys(from).map((name) => <span key={name}>{name} <Ref kind={`${name}s`} id={from[name].id} /> </span>)}</Note>}
                <SchemaForm key={plugin} kind={kind} schema={def} initial={{ ...blank, name: plugin ?? blank.name }} fixed={fixed} method="POST" path={`/${about.path}`} action={`Create ${about.one}`} onCancel={() => history.back()} onSubmit={create} />
              </>;
            }}
          </Show>
        )}
      </Card>
    </Page>
  );
}

export function Detail({ kind, id }: { kind: string; id: string }) {
  const about = KINDS[kind]!;
  const address = `/${about.path}/${encodeURIComponent(id)}`;
  const entity = useLoad<Entity>(address);
  const [deleting, ask] = useState(false);
  useStore(status);
  const shown = entity.data;
  return (
    <Page title={shown ? about.name(shown) : about.one} lead={<span class="crumb"><a href={to(kind)}>{about.title}</a>{shown && <> · <code>{shown.id}</code></>}</span>} actions={shown && !isReadOnly() && <Button kind="danger" onClick={() => ask(true)}>Delete</Button>}>
      <ReadOnly />
      <Show of={entity}>
        {(found) => (
          <>
            {kind === "consumers" && <Credentials consumer={found} />}
            <Edit key={found.id} kind={kind} entity={found} onSaved={entity.reload} />
            <Around kind={kind} entity={found} />
          </>
        )}
      </Show>
      {deleting && shown && (
        <Confirm title={`Delete the ${about.one} ${about.name(shown)}?`} action="Delete" onClose={() => ask(false)} onConfirm={async () => {
          await call("DELETE", `/${about.path}/${shown.id}`);
          announce(`${about.one} deleted`);
          go(to(kind));
        }}>
          <p>{kind === "consumers" ? "Its credentials and its plugins go with it: whoever uses them is refused at once." : kind === "services" || kind === "routes" ? "Its plugins go with it." : "Requests are no longer asked what it asks."}</p>
          <Curl method="DELETE" path={`/${about.path}/${shown.id}`} />
        </Confirm>
      )}
    </Page>
  );
}

function Edit({ kind, entity, onSaved }: { kind: string; entity: Entity; onSaved(): void }) {
  const about = KINDS[kind]!;
  const schema = useSchema(kind, kind === "plugins" ? entity.name : undefined);
  const [round, next] = useState(0);
  const path = `/${about.path}/${entity.id}`;
  return (
    <Card title="Settings">
      <Show of={schema}>
        {(def) => (
          <SchemaForm key={`${round} ${entity.updated_at}`} kind={kind} schema={def} initial={forForm(kind, entity)} hidden={kind === "plugins" ? ["name"] : []} method="PATCH" path={path} action="Save" onSubmit={async (body) => {
            await call("PATCH", path, body);
            saved(about.one);
            next(round + 1);
            onSaved();
          }} />
        )}
      </Show>
    </Card>
  );
}

/** What belongs to an entity. */
function Around({ kind, entity }: { kind: string; entity: Entity }) {
  if (kind === "plugins") return null;
  const field = KINDS[kind]!.one;
  const add = !isReadOnly();
  return (
    <>
      {kind === "services" && <Listing kind="routes" path={`/services/${entity.id}/routes`} title="Routes" actions={add && <ButtonLink href={`${to("routes", "new")}?service=${entity.id}`}>Add a route</ButtonLink>} />}
      <Listing kind="plugins" path={`/${kind}/${entity.id}/plugins`} title="Plugins" actions={add && <ButtonLink href={`${to("plugins", "new")}?${field}=${entity.id}`}>Add a plugin</ButtonLink>} />
    </>
  );
}
