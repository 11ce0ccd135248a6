// Issuers and their keys; what expires soon, and what nobody uses; tokens that the oauth2 plugin issued.
import { useState } from "preact/hooks";
import { call, type Entity } from "./api";
import { Ref } from "./entities";
import { useLoad } from "./hooks";
import { to } from "./router";
import { announce, Badge, Button, Card, Confirm, Curl, Empty, Fact, Facts, Note, Page, Show, Table, Time, number } from "./ui";

const STATE: Record<string, "good" | "warn" | "bad" | "info"> = { ok: "good", stale: "warn", pending: "info", failed: "bad", active: "good", unused: "info", withdrawn: "warn" };

export function Keys() {
  const issuers = useLoad<Entity>("/live/issuers", 5000);
  const [days, set] = useState(30);
  const path = `/live/expiry?days=${days}&unused_days=${days}`;
  const expiry = useLoad<Entity>(path, 60_000);
  return (
    <Page title="Keys and issuers" lead="Identity providers with their keys, what expires soon, and credentials that nobody uses.">
      <Card title="Issuers" curl={<Curl path="/live/issuers" />}>
        <Show of={issuers}>
          {(of) => (of.issuers.length ? of.issuers.map((one: Entity) => <Issuer key={one.issuer} of={one} now={of.now} />) : <Empty title="No identity provider is configured"><p>The openid-connect plugin names them.</p></Empty>)}
        </Show>
      </Card>
      <Card title="Expiring soon" actions={
        <label class="inline">Within <select value={days} onChange={(event) => set(Number(event.currentTarget.value))}>{[7, 14, 30, 90, 365].map((n) => <option key={n} value={n}>{n} days</option>)}</select></label>
      } curl={<Curl path={path} />}>
        <Show of={expiry}>
          {(of) => (of.expiring.length ? (
            <Table caption="Expiring soon" rows={of.expiring as Entity[]} id={(one) => one.kind + one.id + one.what} columns={[
              { head: "What", cell: (one) => one.kind.replaceAll("_", " ") },
              { head: "Name", cell: (one) => one.name ?? <code>{one.id}</code> },
              { head: "Ends", cell: (one) => <>{one.expired ? <Badge tone="bad">expired</Badge> : null} <Time at={one.not_after} now={of.now} /></> },
            ]} />
          ) : <Empty title={`Nothing expires within ${days} days`} />)}
        </Show>
      </Card>
      <Card title="Unused credentials" curl={<Curl path={path} />}>
        <Show of={expiry}>
          {(of) => (
            <>
              {!of.enough && <Note>Uses are known since this process started, <Time at={of.tracked_since} now={of.now} />. That is not long enough to call a credential unused for {days} days.</Note>}
              {of.unused.length ? (
                <>
                  <p class="muted">{number(of.unused_total)} of {number(of.credentials_total)} credentials{of.unused_total > of.unused.length && `, the first ${of.unused.length} of them`}</p>
                  <Table caption="Unused credentials" rows={of.unused as Entity[]} id={(one) => one.id} columns={[
                    { head: "Consumer", cell: (one) => <a href={to("consumers", one.consumer?.id ?? "")}>{one.consumer?.username ?? one.consumer?.id ?? "–"}</a> },
                    { head: "Credential", cell: (one) => <>{one.kind.replaceAll("_", " ")} {one.key && <code>{one.key}</code>}</> },
                    { head: "Created", cell: (one) => <Time at={one.created_at} now={of.now} /> },
                    { head: "Last used", cell: (one) => (one.last_used ? <Time at={one.last_used} now={of.now} /> : <span class="muted">not since the start</span>) },
                  ]} />
                </>
              ) : <Empty title={`Every credential older than ${days} days was used`} />}
            </>
          )}
        </Show>
      </Card>
    </Page>
  );
}

function Issuer({ of, now }: { of: Entity; now: number }) {
  return (
    <section class="issuer" aria-label={of.issuer}>
      <h3><code>{of.issuer}</code> <Badge tone={STATE[of.state] ?? "info"}>{of.state}</Badge></h3>
      {of.last_error && <Note tone={of.state === "ok" ? "info" : "bad"} title={<>Last error, <Time at={of.last_error.at} now={now} /></>}>{of.last_error.message}</Note>}
      <Facts>
        <Fact name="Keys from">{of.jwks_uri ? <code>{of.jwks_uri}</code> : <span class="muted">not known yet</span>}</Fact>
        <Fact name="Confirmed"><Time at={of.confirmed} now={now} /></Fact>
        <Fact name="Next refresh"><Time at={of.next_refresh} now={now} /></Fact>
        {of.failures > 0 && <Fact name="Failures in a row">{number(of.failures)}</Fact>}
        {of.routes?.length > 0 && <Fact name="Routes"><span class="tags">{of.routes.map((name: string) => <a key={name} href={to("routes", name)}>{name}</a>)}</span></Fact>}
      </Facts>
      {of.keys?.length ? (
        <Table caption={`Keys of ${of.issuer}`} rows={of.keys as Entity[]} id={(key) => `${key.kid}${key.algorithm}`} columns={[
          { head: "kid", cell: (key) => <code>{key.kid ?? "–"}</code> },
          { head: "Algorithm", cell: (key) => key.algorithm ?? "–" },
          { head: "State", cell: (key) => <Badge tone={STATE[key.state] ?? "info"}>{key.state}</Badge> },
          { head: "First seen", cell: (key) => (key.first_seen ? <Time at={key.first_seen} now={now} /> : "–") },
          { head: "Last used", cell: (key) => <Time at={key.last_used} now={now} /> },
          { head: "Uses", number: true, cell: (key) => number(key.uses) },
        ]} />
      ) : <Empty title="No keys yet" />}
    </section>
  );
}

/** Tokens that the oauth2 plugin issued: listed by client, and revoked. */
export function Tokens() {
  const [offsets, turn] = useState<string[]>([]);
  const [revoking, ask] = useState<Entity | null>(null);
  const offset = offsets.at(-1);
  const path = `/oauth2_tokens?size=50${offset ? `&offset=${encodeURIComponent(offset)}` : ""}`;
  const list = useLoad<{ data: Entity[]; offset?: string }>(path);
  const clients = "/oauth2?size=50";
  const known = useLoad<{ data: Entity[] }>(clients);
  const now = Date.now() / 1000;
  return (
    <Page title="OAuth2 clients and tokens" lead="Clients of the oauth2 plugin, and the tokens it issued to them.">
      <Card title="Clients" curl={<Curl path={clients} />}>
        <Show of={known}>
          {({ data }) => (data.length ? (
            <Table caption="OAuth2 clients" rows={data} id={(one) => one.id} columns={[
              { head: "Name", cell: (one) => one.name },
              { head: "Client id", cell: (one) => <code>{one.client_id}</code> },
              { head: "Consumer", cell: (one) => <Ref kind="consumers" id={one.consumer?.id} /> },
              { head: "Type", cell: (one) => one.client_type },
              { head: "Created", cell: (one) => <Time at={one.created_at} /> },
            ]} />
          ) : <Empty title="No OAuth2 client yet"><p>A consumer's page makes them.</p></Empty>)}
        </Show>
      </Card>
      <Card title="Tokens" curl={<Curl path={path} />}>
        <Show of={list}>
          {({ data, offset: next }) => (
            <>
              {data.length ? (
                <Table caption="Tokens" rows={data} id={(one) => one.id} columns={[
                  { head: "Token", cell: (one) => <code title={one.id}>{String(one.id).slice(0, 8)}</code> },
                  { head: "Client", cell: (one) => <Client id={one.credential?.id} /> },
                  { head: "User", cell: (one) => one.authenticated_userid ?? <span class="muted">–</span> },
                  { head: "Scope", cell: (one) => one.scope ?? <span class="muted">–</span> },
                  { head: "Issued", cell: (one) => <Time at={one.created_at} /> },
                  { head: "Ends", cell: (one) => (one.expires_in > 0 ? <Time at={one.created_at + one.expires_in} now={now} /> : <span class="muted">never</span>) },
                  { head: "Actions", cell: (one) => <Button kind="quiet" aria-label={`Revoke token ${String(one.id).slice(0, 8)}`} onClick={() => ask(one)}>Revoke</Button> },
                ]} />
              ) : <Empty title="No live token" />}
              {(offsets.length > 0 || next) && (
                <nav class="pages" aria-label="Pages of tokens">
                  <Button disabled={!offsets.length} onClick={() => turn(offsets.slice(0, -1))}>Previous</Button>
                  <span class="muted">Page {offsets.length + 1}</span>
                  <Button disabled={!next} onClick={() => next && turn([...offsets, next])}>Next</Button>
                </nav>
              )}
            </>
          )}
        </Show>
      </Card>
      {revoking && (
        <Confirm title="Revoke this token?" action="Revoke" onClose={() => ask(null)} onConfirm={async () => {
          await call("DELETE", `/oauth2_tokens/${revoking.id}`);
          ask(null);
          announce("Token revoked");
          list.reload();
        }}>
          <p>It is refused from the next request on, and so is its refresh token.</p>
          <Curl method="DELETE" path={`/oauth2_tokens/${revoking.id}`} />
        </Confirm>
      )}
    </Page>
  );
}

function Client({ id }: { id: string | undefined }) {
  const client = useLoad<Entity>(id ? `/oauth2/${id}` : null);
  return <>{client.data?.name ?? <code>{id?.slice(0, 8)}</code>}</>;
}
