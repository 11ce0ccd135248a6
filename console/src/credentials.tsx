// A consumer's credentials: made, rotated, deleted. What is secret is shown once, when it was made, and never again.
import { useEffect, useState } from "preact/hooks";
import { call, isReadOnly, Refused, type Entity } from "./api";
import { useLoad, useSettled } from "./hooks";
import { look, secret } from "./pem";
import { errorTree, fromLines, messages } from "./schema";
import { announce, Badge, Button, Card, Confirm, Curl, Dialog, Empty, Failure, Note, Once, Show, Table, Tags, Time, type Column } from "./ui";

interface Sort {
  path: string;
  schema: string;
  title: string;
  one: string;
  empty: string;
  /** What names a credential without telling it. */
  name(entity: Entity): string;
  /** Fields that are shown once. */
  secrets: string[];
  columns: Column<Entity>[];
}

/** A key is its whole secret: only its ends are shown. */
const masked = (key: string): string => (key.length > 12 ? `${key.slice(0, 4)}…${key.slice(-2)}` : "…");

const created: Column<Entity> = { head: "Created", cell: (entity) => <Time at={entity.created_at} /> };
const tags: Column<Entity> = { head: "Tags", cell: (entity) => <Tags of={entity.tags} /> };

const SORTS: Sort[] = [
  {
    path: "jwt", schema: "jwt_secrets", title: "JWT credentials", one: "JWT credential", empty: "Tokens of this consumer cannot be recognised: it has no JWT credential.", name: (entity) => entity.key, secrets: ["key", "secret"],
    columns: [
      { head: "Key", cell: (entity) => <code>{entity.key}</code> },
      { head: "Algorithm", cell: (entity) => <Badge>{entity.algorithm}</Badge> },
      created,
      tags,
    ],
  },
  {
    path: "key-auth", schema: "keyauth_credentials", title: "API keys", one: "API key", empty: "No API key.", name: (entity) => masked(entity.key), secrets: ["key"],
    columns: [
      { head: "Key", cell: (entity) => <code>{masked(entity.key)}</code> },
      { head: "Expires", cell: (entity) => (entity.ttl ? <Time at={Date.now() / 1000 + entity.ttl} /> : <span class="muted">never</span>) },
      created,
      tags,
    ],
  },
  {
    path: "oauth2", schema: "oauth2_credentials", title: "OAuth2 clients", one: "OAuth2 client", empty: "No OAuth2 client.", name: (entity) => entity.name, secrets: ["client_id", "client_secret"],
    columns: [
      { head: "Name", cell: (entity) => entity.name },
      { head: "Client id", cell: (entity) => <code>{entity.client_id}</code> },
      { head: "Type", cell: (entity) => <>{entity.client_type} {entity.hash_secret && <Badge>hashed</Badge>}</> },
      created,
    ],
  },
];

export function Credentials({ consumer }: { consumer: Entity }) {
  return <>{SORTS.map((sort) => <Sorted key={sort.path} sort={sort} consumer={consumer} />)}</>;
}

interface Made { what: string; fields: [string, string][] }

function Sorted({ sort, consumer }: { sort: Sort; consumer: Entity }) {
  const path = `/consumers/${consumer.id}/${sort.path}`;
  const list = useLoad<{ data: Entity[] }>(`${path}?size=1000`);
  const [adding, add] = useState(false);
  const [rotating, rotate] = useState<Entity | null>(null);
  const [deleting, ask] = useState<Entity | null>(null);
  const [made, show] = useState<Made | null>(null);
  const done = (what: string, entity: Entity | null, shown: string[], sent: Entity = {}): void => {
    add(false);
    rotate(null);
    const fields = shown.map((name): [string, string] => [name, sent[name] ?? entity?.[name]]).filter(([, value]) => value);
    show(entity && fields.length ? { what, fields } : null);
    announce(what);
    list.reload();
  };
  const writable = !isReadOnly();
  const columns: Column<Entity>[] = writable
    ? [...sort.columns, {
        head: "Actions",
        cell: (entity) => (
          <span class="row-actions">
            <Button kind="quiet" aria-label={`Rotate ${sort.name(entity)}`} onClick={() => rotate(entity)}>Rotate</Button>
            <Button kind="quiet" aria-label={`Delete ${sort.name(entity)}`} onClick={() => ask(entity)}>Delete</Button>
          </span>
        ),
      }]
    : sort.columns;
  return (
    <Card title={sort.title} actions={writable && !adding && <Button onClick={() => { show(null); add(true); }}>Add {sort.one === "API key" ? "an" : sort.one.startsWith("O") ? "an" : "a"} {sort.one}</Button>} curl={<Curl path={path} />}>
      {made && (
        <Note tone="good" role="status" title={made.what}>
          <p>Shown this once: copy it to where it will be used.</p>
          {made.fields.map(([name, value]) => <Once key={name} name={name} value={value} />)}
          <div class="actions"><Button onClick={() => show(null)}>Done</Button></div>
        </Note>
      )}
      {adding && <Add sort={sort} path={path} onClose={() => add(false)} onDone={(entity, typed, sent) => done(`${sort.one} created`, entity, entity.rsa_public_key ? [] : sort.secrets.filter((name) => !(name in typed)), sent)} />}
      <Show of={list}>
        {({ data }) => (data.length ? <Table caption={sort.title} columns={columns} rows={data} id={(entity) => entity.id} /> : !adding && <Empty title={sort.empty} />)}
      </Show>
      {rotating && <Rotate sort={sort} path={path} entity={rotating} onClose={() => rotate(null)} onDone={done} />}
      {deleting && (
        <Confirm title={`Delete the ${sort.one} ${sort.name(deleting)}?`} action="Delete" onClose={() => ask(null)} onConfirm={async () => {
          await call("DELETE", `${path}/${deleting.id}`);
          ask(null);
          done(`${sort.one} deleted`, null, []);
        }}>
          <p>Whoever uses it is refused from the next request on.</p>
          <Curl method="DELETE" path={`${path}/${deleting.id}`} />
        </Confirm>
      )}
    </Card>
  );
}

const SHARED = ["HS256", "HS384", "HS512"];
const PUBLIC = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"];

function Line({ id, label, hint, error, children }: { id: string; label: string; hint?: string; error?: string; children: any }) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children}
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
      {error && <p class="field-error" id={`${id}-error`} role="alert">{error}</p>}
    </div>
  );
}
const about = (id: string, hint: boolean, error: string | undefined) => ({ id, "aria-invalid": error ? true : undefined, "aria-describedby": [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || undefined });

/** A field for a public key that says at once whether the key can be used. */
function PemField({ algorithm, value, set, error }: { algorithm: string; value: string; set(value: string): void; error?: string }) {
  const pasted = look(value);
  const settled = useSettled(value, 250);
  const [verdict, judge] = useState<{ of: string; fault: string } | null>(null);
  useEffect(() => {
    if (look(settled).kind !== "public") return;
    let here = true;
    const of = `${algorithm} ${settled}`;
    call("POST", "/schemas/jwt_secrets/validate", { consumer: { id: "00000000-0000-0000-0000-000000000000" }, algorithm, rsa_public_key: settled })
      .then(() => here && judge({ of, fault: "" }), (fault) => here && fault instanceof Refused && judge({ of, fault: messages(errorTree(fault)).filter(([path]) => path.includes("rsa_public_key")).map(([, text]) => text).join("; ") || fault.message }));
    return () => { here = false; };
  }, [settled, algorithm]);
  const current = verdict?.of === `${algorithm} ${value}` ? verdict : null;
  const fault = value.trim() === "" ? error : pasted.kind === "public" ? current?.fault || error : pasted.fault;
  return (
    <Line id="credential-pem" label="rsa_public_key" hint={`The public key for ${algorithm}, in PEM`} error={fault}>
      <textarea {...about("credential-pem", true, fault)} rows={6} spellcheck={false} class="mono" placeholder="-----BEGIN PUBLIC KEY-----" value={value} onInput={(event) => set(event.currentTarget.value)} />
      {current && !current.fault && pasted.kind === "public" && <p class="field-good" role="status">This key can be used with {algorithm}.</p>}
    </Line>
  );
}

function Add({ sort, path, onClose, onDone }: { sort: Sort; path: string; onClose(): void; /** Told what was made, what of it was typed, and what was sent. */
  onDone(entity: Entity, typed: Entity, sent: Entity): void }) {
  const [draft, set] = useState<Entity>(sort.path === "jwt" ? { algorithm: "HS256" } : sort.path === "oauth2" ? { client_type: "confidential", hash_secret: true } : {});
  const [error, fail] = useState<Error | null>(null);
  const put = (name: string, value: any): void => set((old) => ({ ...old, [name]: value === "" ? undefined : value }));
  const faults = error instanceof Refused ? errorTree(error) : {};
  const at = (name: string): string | undefined => messages(faults[name]).map(([, text]) => text).join("; ") || undefined;
  const others = messages(faults).filter(([path]) => !path.length).map(([, text]) => text);
  const asymmetric = PUBLIC.includes(draft.algorithm);
  const pemFault = asymmetric && look(draft.rsa_public_key ?? "");
  const body: Entity = Object.fromEntries(Object.entries(draft).filter(([, value]) => value !== undefined));
  if (sort.path === "jwt") delete body[asymmetric ? "secret" : "rsa_public_key"];
  const create = async (event: Event): Promise<void> => {
    event.preventDefault();
    // A secret that is kept as a hash is made here: the answer has the hash.
    const own = sort.path === "oauth2" && draft.hash_secret && !draft.client_secret && draft.client_type === "confidential" ? { client_secret: secret() } : {};
    try {
      const sent = { ...body, ...own };
      onDone(await call("POST", path, sent), body, sent);
    } catch (fault) {
      fail(fault as Error);
    }
  };
  const text = (name: string, hint: string, more: object = {}) => (
    <Line id={`credential-${name}`} label={name} hint={hint} error={at(name)}>
      <input {...about(`credential-${name}`, true, at(name))} spellcheck={false} autocomplete="off" value={draft[name] ?? ""} onInput={(event) => put(name, event.currentTarget.value)} {...more} />
    </Line>
  );
  return (
    <form class="inset" aria-label={`New ${sort.one}`} onSubmit={create} noValidate autocomplete="off">
      {error && !(error instanceof Refused && messages(faults).length) && <Failure error={error} />}
      {others.length > 0 && <Note tone="bad" role="alert">{others.join("; ")}</Note>}
      {sort.path === "jwt" && (
        <>
          <Line id="credential-algorithm" label="algorithm" error={at("algorithm")}>
            <select id="credential-algorithm" value={draft.algorithm} onChange={(event) => put("algorithm", event.currentTarget.value)}>
              <optgroup label="Shared secret">{SHARED.map((name) => <option key={name}>{name}</option>)}</optgroup>
              <optgroup label="Public key">{PUBLIC.map((name) => <option key={name}>{name}</option>)}</optgroup>
            </select>
          </Line>
          {text("key", "What tokens carry in the key claim (iss, unless configured); generated when empty")}
          {asymmetric
            ? <PemField algorithm={draft.algorithm} value={draft.rsa_public_key ?? ""} set={(value) => put("rsa_public_key", value)} error={at("rsa_public_key")} />
            : text("secret", "Generated when empty, and shown once", { type: "password", autocomplete: "new-password" })}
        </>
      )}
      {sort.path === "key-auth" && (
        <>
          {text("key", "Generated when empty, and shown once", { type: "password", autocomplete: "new-password" })}
          <Line id="credential-ttl" label="ttl" hint="Seconds until it expires; empty: never" error={at("ttl")}>
            <input {...about("credential-ttl", true, at("ttl"))} inputMode="numeric" value={draft.ttl ?? ""} onInput={(event) => { const typed = event.currentTarget.value; put("ttl", typed !== "" && Number.isFinite(Number(typed)) ? Number(typed) : typed); }} />
          </Line>
        </>
      )}
      {sort.path === "oauth2" && (
        <>
          {text("name", "What people are told the client is called")}
          <Line id="credential-client_type" label="client_type" error={at("client_type")}>
            <select id="credential-client_type" value={draft.client_type} onChange={(event) => put("client_type", event.currentTarget.value)}><option>confidential</option><option>public</option></select>
          </Line>
          <Line id="credential-redirect_uris" label="redirect_uris" hint="One per line; compared letter by letter" error={at("redirect_uris")}>
            <textarea {...about("credential-redirect_uris", true, at("redirect_uris"))} rows={2} spellcheck={false} onInput={(event) => put("redirect_uris", fromLines(event.currentTarget.value, undefined) ?? "")} />
          </Line>
          {text("client_id", "Generated when empty")}
          {draft.client_type === "confidential" && text("client_secret", "Generated when empty, and shown once", { type: "password", autocomplete: "new-password" })}
          <div class="field switch"><label class="choice"><input type="checkbox" checked={draft.hash_secret === true} onChange={(event) => put("hash_secret", event.currentTarget.checked)} />hash_secret</label><p class="hint">Only a hash of the secret is kept</p></div>
        </>
      )}
      <Curl method="POST" path={path} body={body} />
      <div class="actions end">
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="primary" type="submit" disabled={!!pemFault && pemFault.kind !== "public"}>Create {sort.one}</Button>
      </div>
    </form>
  );
}

/** A new secret or key in place of an old one: beside it for a while, or at once. */
function Rotate({ sort, path, entity, onClose, onDone }: { sort: Sort; path: string; entity: Entity; onClose(): void; onDone(what: string, entity: Entity, shown: string[], sent?: Entity): void }) {
  const [beside, choose] = useState(true);
  const [pem, paste] = useState("");
  const [error, fail] = useState<Error | null>(null);
  const asymmetric = sort.path === "jwt" && PUBLIC.includes(entity.algorithm);
  const field = sort.path === "jwt" ? (asymmetric ? "rsa_public_key" : "secret") : sort.path === "key-auth" ? "key" : "client_secret";
  const [fresh] = useState(secret);
  const value = asymmetric ? pem : fresh;
  const copy: Entity = {};
  for (const name of ["algorithm", "tags", "name", "redirect_uris", "client_type", "hash_secret", "ttl"]) if (entity[name] !== undefined && entity[name] !== null) copy[name] = entity[name];
  const method = beside ? "POST" : "PATCH";
  const address = beside ? path : `${path}/${entity.id}`;
  const body: Entity = beside ? { ...copy, [field]: value } : { [field]: value, ...(entity.hash_secret ? { hash_secret: true } : {}) };
  const shown = asymmetric ? ["key"] : beside ? sort.secrets : [field];
  const rotate = async (event: Event): Promise<void> => {
    event.preventDefault();
    try {
      const written = await call(method, address, body);
      onDone(beside ? `A second ${sort.one} was added` : `${sort.one} rotated`, written, shown, asymmetric ? {} : { [field]: value });
    } catch (fault) {
      fail(fault as Error);
    }
  };
  return (
    <Dialog title={`Rotate ${sort.name(entity)}`} onClose={onClose}>
      <form onSubmit={rotate} noValidate>
        <fieldset class="options">
          <legend class="unseen">How</legend>
          <label class="choice"><input type="radio" name="how" checked={beside} onChange={() => choose(true)} /><span><strong>Add a second one beside it</strong><br />Both work. Move the clients, then delete the old one.{sort.path === "jwt" && " Tokens name the new key."}</span></label>
          <label class="choice"><input type="radio" name="how" checked={!beside} onChange={() => choose(false)} /><span><strong>Replace it now</strong><br />{sort.path === "jwt" ? "The key stays; tokens signed with the old one are refused at once." : "The old one is refused at once."}</span></label>
        </fieldset>
        {asymmetric && <PemField algorithm={entity.algorithm} value={pem} set={paste} />}
        {error && <Failure error={error} />}
        <Curl method={method} path={address} body={body} />
        <div class="actions end">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" disabled={asymmetric && look(pem).kind !== "public"}>{beside ? "Add" : "Replace"}</Button>
        </div>
      </form>
    </Dialog>
  );
}
