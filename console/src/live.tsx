// What is refused, and how verification does.
import { useState } from "preact/hooks";
import type { Entity } from "./api";
import { useLoad } from "./hooks";
import { to } from "./router";
import { Badge, Card, Curl, Empty, Fact, Facts, Page, Show, Table, Time, number } from "./ui";

const EVERY = 3000;

export function Live() {
  const rejects = useLoad<Entity>("/live/rejects?minutes=60&limit=200", EVERY);
  const verification = useLoad<Entity>("/live/verification", EVERY);
  const [reason, only] = useState("");
  return (
    <Page title="Live" lead="Refusals of the last hour, the last 200 of them, and how verification does. Renewed every 3 seconds.">
      <Card title="Refused, by reason" curl={<Curl path="/live/rejects?minutes=60&limit=200" />}>
        <Show of={rejects}>{(of) => <Reasons of={of} chosen={reason} choose={only} />}</Show>
      </Card>
      <Card title={reason ? `Last refusals: ${reason}` : "Last refusals"} curl={<Curl path="/live/rejects?limit=200" />}>
        <Show of={rejects}>{(of) => <Recent of={of} reason={reason} />}</Show>
      </Card>
      <Card title="Verification" curl={<Curl path="/live/verification" />}>
        <Show of={verification}>{(of) => <Verification of={of} />}</Show>
      </Card>
    </Page>
  );
}

function Reasons({ of, chosen, choose }: { of: Entity; chosen: string; choose(reason: string): void }) {
  const most = Math.max(1, ...of.reasons.map((one: Entity) => one.total));
  return (
    <>
      <Facts>
        <Fact name="Refused in the last hour"><span class="figure" data-figure="refused">{number(of.total)}</span></Fact>
        <Fact name="Requests"><span class="figure" data-figure="requests">{number(of.requests)}</span></Fact>
        <Fact name="Share"><span class="figure">{of.requests ? `${((100 * of.total) / of.requests).toFixed(1)} %` : "–"}</span></Fact>
      </Facts>
      {of.reasons.length ? (
        <ul class="bars" role="list">
          {of.reasons.map((one: Entity) => (
            <li key={one.reason} data-reason={one.reason} data-total={one.total}>
              <button type="button" class="link" aria-pressed={chosen === one.reason} onClick={() => choose(chosen === one.reason ? "" : one.reason)}>{one.reason}</button>
              <svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect width={(100 * one.total) / most} height="10" rx="1" /></svg>
              <Spark values={one.minutes} label={`${one.reason} by minute`} />
              <span class="number">{number(one.total)}</span>
              {typeof one.previous === "number" ? <span class="muted number">{one.total >= one.previous ? "+" : "−"}{number(Math.abs(one.total - one.previous))} on the hour before</span> : <span />}
            </li>
          ))}
        </ul>
      ) : <Empty title="Nothing was refused in the last hour" />}
    </>
  );
}

/** A row of small bars, one a minute. */
function Spark({ values, label }: { values: number[]; label: string }) {
  const most = Math.max(1, ...values);
  return (
    <svg class="spark" viewBox={`0 0 ${values.length * 3} 20`} preserveAspectRatio="none" role="img" aria-label={`${label}: at most ${number(Math.max(0, ...values))}`}>
      {values.map((value, at) => value > 0 && <rect key={at} x={at * 3} y={20 - Math.max(1, (20 * value) / most)} width="2" height={Math.max(1, (20 * value) / most)} />)}
    </svg>
  );
}

function Recent({ of, reason }: { of: Entity; reason: string }) {
  const rows: Entity[] = of.recent.filter((one: Entity) => !reason || one.reason === reason);
  if (!rows.length) return <Empty title={reason ? `None of the last ${of.recent.length} was refused for this` : "No refusal since this process started"} />;
  const dash = <span class="muted">–</span>;
  return (
    <>
      {of.recent_skipped > 0 && <p class="muted">{number(of.recent_skipped)} are counted but not listed: too many came at once.</p>}
      <div class="scroll" tabIndex={0} role="group" aria-label="Last refusals">
        <Table caption="Last refusals" rows={rows} id={(one) => `${one.request_id ?? ""}${one.at_ms}${one.plugin}`} columns={[
          { head: "When", cell: (one) => <Time at={one.at_ms / 1000} now={of.now} /> },
          { head: "Reason", cell: (one) => <><Badge tone="bad">{one.reason}</Badge>{one.anonymous && <Badge tone="warn">anonymous</Badge>}</> },
          { head: "Route", cell: (one) => (one.route ? <a href={to("routes", one.route)}>{one.route}</a> : dash) },
          { head: "Request", cell: (one) => <code>{one.method} {one.path}</code> },
          { head: "Issuer", cell: (one) => (one.issuer ? <code>{one.issuer}</code> : dash) },
          { head: "kid", cell: (one) => (one.kid ? <code>{one.kid}</code> : dash) },
          { head: "Token", cell: (one) => (one.token_fp ? <code class="fp" title="Fingerprint, as in the access log">{one.token_fp}</code> : dash) },
          { head: "Client", cell: (one) => one.client ?? dash },
        ]} />
      </div>
    </>
  );
}

const micro = (value: number | null): string => (value === null || value === undefined ? "–" : value >= 1000 ? `${(value / 1000).toFixed(1)} ms` : `${value.toFixed(value < 10 ? 1 : 0)} µs`);

function Verification({ of }: { of: Entity }) {
  const names: Record<string, string> = { since_start: "Since the start", "5m": "Last 5 minutes" };
  const windows: Entity[] = [...of.windows].reverse();
  return (
    <>
      {windows.map((window) => (
        <div key={window.window} class="window">
          <h3>{names[window.window] ?? window.window}</h3>
          <Facts>
            <Fact name="Cache hit ratio"><span class="figure" data-figure={`ratio-${window.window}`}>{window.cache.ratio === null ? "–" : `${(100 * window.cache.ratio).toFixed(1)} %`}</span></Fact>
            <Fact name="Hits">{number(window.cache.hits)}</Fact>
            <Fact name="Misses">{number(window.cache.misses)}</Fact>
            {window.cache.entries !== undefined && window.cache.entries !== null && <Fact name="Entries">{number(window.cache.entries)}</Fact>}
          </Facts>
          {window.algorithms.length ? (
            <Table caption={`Verification by algorithm, ${names[window.window] ?? window.window}`} rows={window.algorithms as Entity[]} id={(one) => one.algorithm} columns={[
              { head: "Algorithm", cell: (one) => <Badge>{one.algorithm}</Badge> },
              { head: "Verified", number: true, cell: (one) => number(one.count) },
              { head: "Invalid", number: true, cell: (one) => number(one.invalid) },
              { head: "From cache", number: true, cell: (one) => number(one.cached) },
              { head: "Median", number: true, cell: (one) => micro(one.p50_us) },
              { head: "p99", number: true, cell: (one) => micro(one.p99_us) },
              { head: "p99.9", number: true, cell: (one) => micro(one.p999_us) },
            ]} />
          ) : <Empty title="No token was verified" />}
        </div>
      ))}
    </>
  );
}
