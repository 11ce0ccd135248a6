// "Why was my token refused?": the verifier's own steps for one token on one route.
//
// The token goes from this field to the gateway's own verifier and nowhere else; it is not kept, and not put into the address.
import { useEffect, useState } from "preact/hooks";
import { call, type Entity } from "./api";
import { useLoad } from "./hooks";
import { to } from "./router";
import { Badge, Button, Card, Curl, Empty, Fact, Facts, Failure, Note, Page, ago, iso } from "./ui";

const PLACES = [["", "where the route looks for it"], ["header:authorization", "Authorization: Bearer"], ["query:jwt", "query: jwt"], ["query:access_token", "query: access_token"], ["cookie:jwt", "cookie: jwt"], ["header:apikey", "header: apikey"]];

export function Inspector({ query }: { query: URLSearchParams }) {
  const [token, paste] = useState("");
  const [how, choose] = useState<"route" | "url">(query.get("url") ? "url" : "route");
  const [route, pick] = useState(query.get("route") ?? "");
  const [method, ask] = useState(query.get("method") ?? "GET");
  const [url, aim] = useState(query.get("url") ?? "/");
  const [where, put] = useState("");
  const [result, show] = useState<Entity | null>(null);
  const [error, fail] = useState<Error | null>(null);
  const [busy, work] = useState(false);
  const routes = useLoad<{ data: Entity[]; offset?: string }>("/routes?size=1000");
  useEffect(() => {
    const first = routes.data?.data[0];
    if (!route && first) pick(first.name ?? first.id);
  }, [routes.data]);
  // A token is often copied together with what stood around it; that is for the explanation to find, so nothing is taken away.
  const body: Entity = { ...(token ? { token } : {}), ...(where ? { in: where } : {}), ...(how === "route" ? { route } : { method, url }) };
  const inspect = async (event: Event): Promise<void> => {
    event.preventDefault();
    work(true);
    try {
      show(await call("POST", "/explain", body));
      fail(null);
    } catch (fault) {
      show(null);
      fail(fault as Error);
    }
    work(false);
  };
  return (
    <Page title="Inspect a token" lead="Why it is refused, step by step, as the gateway itself decides. The token stays on this machine and is not logged.">
      <Card>
        <form onSubmit={inspect} autocomplete="off">
          <div class="field">
            <label for="token">Token</label>
            <textarea id="token" class="mono token" rows={5} spellcheck={false} autocapitalize="off" autocomplete="off" placeholder="eyJhbGciOi…" value={token} onInput={(event) => paste(event.currentTarget.value)} />
          </div>
          <fieldset class="choices">
            <legend>Judge it</legend>
            <div class="choice-list">
              <label class="choice"><input type="radio" name="how" checked={how === "route"} onChange={() => choose("route")} />on a route</label>
              <label class="choice"><input type="radio" name="how" checked={how === "url"} onChange={() => choose("url")} />for a request</label>
            </div>
          </fieldset>
          <div class="columns">
            {how === "route" ? (
              <div class="field">
                <label for="route">Route</label>
                {routes.data && routes.data.data.length <= 200 && !routes.data.offset ? (
                  <select id="route" value={route} onChange={(event) => pick(event.currentTarget.value)}>
                    {routes.data.data.map((one) => <option key={one.id} value={one.name ?? one.id}>{one.name ?? one.id} {one.paths ? `(${one.paths.join(", ")})` : ""}</option>)}
                  </select>
                ) : <input id="route" value={route} spellcheck={false} onInput={(event) => pick(event.currentTarget.value)} aria-describedby="route-hint" />}
                {!routes.data && <p class="hint" id="route-hint">Name or id</p>}
              </div>
            ) : (
              <>
                <MethodField value={method} set={ask} />
                <div class="field"><label for="url">URL or path</label><input id="url" value={url} spellcheck={false} onInput={(event) => aim(event.currentTarget.value)} /></div>
              </>
            )}
            <div class="field">
              <label for="where">The token is in</label>
              <select id="where" value={where} onChange={(event) => put(event.currentTarget.value)}>{PLACES.map(([value, text]) => <option key={value} value={value}>{text}</option>)}</select>
            </div>
          </div>
          <div class="actions">
            <Button kind="primary" type="submit" disabled={busy || (how === "route" && !route)}>Explain</Button>
            {(token || result) && <Button onClick={() => { paste(""); show(null); fail(null); }}>Clear</Button>}
          </div>
        </form>
        <Curl method="POST" path="/explain" body={body} />
      </Card>
      <div aria-live="polite">
        {error && <Failure error={error} />}
        {result && <Explanation of={result} />}
      </div>
    </Page>
  );
}

export function MethodField({ value, set }: { value: string; set(value: string): void }) {
  return (
    <div class="field narrow">
      <label for="method">Method</label>
      <select id="method" value={value} onChange={(event) => set(event.currentTarget.value)}>{["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"].map((name) => <option key={name}>{name}</option>)}</select>
    </div>
  );
}

const OUTCOME: Record<string, ["good" | "warn" | "bad", string]> = {
  allowed: ["good", "Allowed"],
  anonymous: ["warn", "Let through as anonymous"],
  refused: ["bad", "Refused"],
  answered: ["warn", "Answered by the gateway"],
  no_route: ["bad", "No route"],
};
const VERDICT: Record<string, string> = { passed: "Passed", failed: "Failed", noted: "Noted", skipped: "Skipped" };
const MARK: Record<string, string> = { passed: "✓", failed: "✕", noted: "i", skipped: "–" };

function Explanation({ of }: { of: Entity }) {
  const [tone, word] = OUTCOME[of.outcome] ?? ["warn", of.outcome];
  const hints: Entity[] = of.hints ?? [];
  return (
    <>
      <Card tone={tone} title={<>{word}{of.reason && <> <Badge tone={tone}>{of.reason}</Badge></>}</>}>
        <p class="summary">{of.summary}</p>
        {hints.length > 0 && (
          <div class="hints">
            <h3>What to do</h3>
            <ul>{hints.map((hint, at) => <li key={at} data-hint={hint.code}>{hint.text}</li>)}</ul>
          </div>
        )}
        {of.passes_on?.length > 0 && <p>This token would pass on {of.passes_on.map((route: Entity, at: number) => <span key={route.id}>{at > 0 && ", "}<a href={to("routes", route.id)}>{route.name ?? route.id}</a></span>)}.</p>}
        <Facts>
          <Fact name="Route">{of.route ? <a href={to("routes", of.route.id)}>{of.route.name ?? of.route.id}</a> : "none"}</Fact>
          {of.answer && <Fact name="The client gets"><code>{of.answer.status} {of.answer.body}</code></Fact>}
          {of.principal?.kind && of.principal.kind !== "none" && <Fact name="Caller">{of.principal.consumer ? <a href={to("consumers", of.principal.consumer.id)}>{of.principal.consumer.username ?? of.principal.consumer.custom_id ?? of.principal.consumer.id}</a> : of.principal.kind}{of.principal.credential && <> by <code>{of.principal.credential}</code></>}</Fact>}
          {of.token?.fingerprint && <Fact name="Fingerprint in logs"><code>{of.token.fingerprint}</code></Fact>}
        </Facts>
      </Card>
      {of.token && <Card title="Times"><Times of={of.token} now={of.at} /></Card>}
      <Card title="Steps">
        <ol class="ladder">
          {(of.steps ?? []).map((step: Entity, at: number) => (
            <li key={at} class={`${step.verdict} ${at === of.failed ? "decided" : ""}`} data-check={step.check} data-verdict={step.verdict} data-decided={at === of.failed ? "" : undefined}>
              <span class="mark" aria-hidden="true">{MARK[step.verdict] ?? "·"}</span>
              <div>
                <p><strong>{step.title}</strong> <span class="unseen">{VERDICT[step.verdict]}</span>{step.plugin && <span class="muted"> {step.plugin}</span>}{step.reason && <> <Badge tone="bad">{step.reason}</Badge></>}</p>
                {step.detail && <p class="detail">{step.detail}</p>}
                {step.hint && <p class="step-hint">{step.hint.text}</p>}
              </div>
            </li>
          ))}
        </ol>
      </Card>
      {of.token && (of.token.header || of.token.claims) && (
        <Card title="What the token says">
          <div class="columns">
            {of.token.header && <div><h3>Header</h3><pre tabIndex={0}>{JSON.stringify(of.token.header, null, 2)}</pre></div>}
            {of.token.claims && <div><h3>Claims</h3><pre tabIndex={0}>{JSON.stringify(of.token.claims, null, 2)}</pre></div>}
          </div>
        </Card>
      )}
      {of.upstream_headers?.length > 0 && (
        <Card title="What the service is told">
          <Facts>{of.upstream_headers.map(([name, value]: [string, string]) => <Fact key={name} name={name}><code>{value}</code></Fact>)}</Facts>
        </Card>
      )}
      {of.warnings?.length > 0 && <Note tone="warn" title="About this route"><ul>{of.warnings.map((text: string) => <li key={text}>{text}</li>)}</ul></Note>}
    </>
  );
}

/** The life of a token as a bar, and now on it. */
function Times({ of, now }: { of: Entity; now: number }) {
  const times: Entity[] = (of.times ?? []).filter((time: Entity) => typeof time.at === "number");
  if (!of.times?.length) return <Empty title="The token carries no times"><p>Nothing in it says when it ends.</p></Empty>;
  const claim = (name: string): number | undefined => times.find((time) => time.claim === name)?.at;
  const all = [now, ...times.map((time) => time.at as number)];
  const low = Math.min(...all);
  const span = Math.max(1, Math.max(...all) - low);
  const x = (at: number): number => 20 + ((at - low) / span) * 560;
  const from = claim("nbf") ?? claim("iat");
  const until = claim("exp");
  // Claims that lie close together share a label.
  const labels: { at: number; names: string }[] = [];
  for (const time of [...times].sort((a, b) => a.at - b.at)) {
    const last = labels.at(-1);
    if (last && x(time.at) - last.at < 40) last.names += `, ${time.claim}`;
    else labels.push({ at: x(time.at), names: time.claim });
  }
  return (
    <>
      {times.length > 0 && (
        <svg class="times" viewBox="0 0 600 64" role="img" aria-label={`Life of the token: ${times.map((time) => `${time.claim} ${ago(time.at - now)}`).join(", ")}`}>
          <line x1="20" x2="580" y1="32" y2="32" class="axis" />
          {until !== undefined && <rect x={x(from ?? low)} y="26" width={Math.max(2, x(until) - x(from ?? low))} height="12" rx="3" class={until > now && (from ?? low) <= now ? "life good" : "life bad"} />}
          {times.map((time) => <g key={time.claim}><line x1={x(time.at)} x2={x(time.at)} y1="22" y2="42" class={`tick ${time.ok === false ? "bad" : ""}`} /></g>)}
          {labels.map(({ at, names }) => <text key={names} x={at} y="58" text-anchor={anchor(at)}>{names}</text>)}
          <line x1={x(now)} x2={x(now)} y1="16" y2="48" class="now" /><text x={x(now)} y="11" text-anchor={anchor(x(now))} class="now-text">now</text>
        </svg>
      )}
      <Facts>
        {of.times.map((time: Entity) => (
          <Fact key={time.claim} name={time.claim}>
            {typeof time.at === "number" ? <>{ago(time.at - now)} <span class="muted">{iso(time.at)}</span> </> : <code>{time.text ?? "no number"}</code>}
            {time.checked ? <Badge tone={time.ok === false ? "bad" : "good"}>{time.ok === false ? "refused" : "holds"}</Badge> : <Badge>not looked at</Badge>}
          </Fact>
        ))}
        {typeof of.leeway === "number" && <Fact name="leeway">{of.leeway} s</Fact>}
      </Facts>
    </>
  );
}

const anchor = (x: number): "start" | "middle" | "end" => (x < 60 ? "start" : x > 540 ? "end" : "middle");
