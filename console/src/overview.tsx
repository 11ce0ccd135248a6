// The first page: is it well, what is refused, where to go on.
import type { Entity } from "./api";
import { useLoad } from "./hooks";
import { to } from "./router";
import { Badge, Card, Curl, Fact, Facts, Note, Page, Show, Time, number } from "./ui";

export function Overview() {
  const configuration = useLoad<Entity>("/live/configuration", 5000);
  const rejects = useLoad<Entity>("/live/rejects?minutes=60&limit=1", 5000);
  const issuers = useLoad<Entity>("/live/issuers", 10_000);
  const expiry = useLoad<Entity>("/live/expiry?days=14&unused_days=30", 60_000);
  const troubled = issuers.data?.issuers.filter((one: Entity) => one.state === "stale" || one.state === "failed") ?? [];
  return (
    <Page title="Overview">
      {configuration.data?.last_reload?.success === false && <Note tone="bad" title="The last reload failed">The configuration before stays in use. <a href={to("configuration")}>See why</a></Note>}
      {troubled.map((one: Entity) => <Note key={one.issuer} tone="warn" title={`${one.issuer} does not give its keys`}>{one.last_error?.message} <a href={to("keys")}>Keys and issuers</a></Note>)}
      {expiry.data?.expiring.length > 0 && <Note tone="warn" title={`${expiry.data!.expiring.length} ${expiry.data!.expiring.length === 1 ? "thing expires" : "things expire"} within 14 days`}><a href={to("keys")}>Keys and issuers</a></Note>}
      <div class="tiles">
        <a class="tile" href={to("inspect")}><strong>Inspect a token</strong><span>Why was it refused?</span></a>
        <a class="tile" href={to("lookup")}><strong>Who may call</strong><span>What applies to a request, and who gets through</span></a>
        <a class="tile" href={to("consumers", "new")}><strong>New consumer</strong><span>And its credentials</span></a>
      </div>
      <Card title="Refused in the last hour" actions={<a href={to("live")}>Live</a>} curl={<Curl path="/live/rejects?minutes=60&limit=1" />}>
        <Show of={rejects}>
          {(of) => (
            <Facts>
              <Fact name="Refused"><span class="figure">{number(of.total)}</span></Fact>
              <Fact name="Requests"><span class="figure">{number(of.requests)}</span></Fact>
              {of.reasons.slice(0, 4).map((one: Entity) => <Fact key={one.reason} name={one.reason}><span class="figure">{number(one.total)}</span></Fact>)}
            </Facts>
          )}
        </Show>
      </Card>
      <Card title="Configuration" actions={<a href={to("configuration")}>More</a>} curl={<Curl path="/live/configuration" />}>
        <Show of={configuration}>
          {(of) => (
            <Facts>
              <Fact name="Generation"><span class="figure">{number(of.generation)}</span></Fact>
              <Fact name="Source"><code>{of.source}</code> {!of.writable && <Badge>read only</Badge>}</Fact>
              <Fact name="Loaded"><Time at={of.loaded_at} now={of.now} /></Fact>
              {["services", "routes", "consumers", "plugins"].map((kind) => of.entities?.[kind] !== undefined && <Fact key={kind} name={kind}><a href={to(kind)}>{number(of.entities[kind])}</a></Fact>)}
            </Facts>
          )}
        </Show>
      </Card>
    </Page>
  );
}
