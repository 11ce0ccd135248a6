// What is in force: where it came from, how the last reload went, what changed.
import { useEffect } from "preact/hooks";
import type { Entity } from "./api";
import { useLoad } from "./hooks";
import { Badge, Card, Curl, Empty, Fact, Facts, Note, Page, Show, Time, number } from "./ui";

export function Configuration() {
  const path = "/live/configuration";
  const known = useLoad<Entity>(path, 3000);
  const pending = known.data?.difference?.pending === true;
  useEffect(() => {
    if (!pending) return;
    const timer = setTimeout(known.reload, 500);
    return () => clearTimeout(timer);
  }, [pending, known.data]);
  return (
    <Page title="Configuration" lead="What is in force, where it came from, and what the last change was.">
      <Card title="In force" curl={<Curl path={path} />}>
        <Show of={known}>
          {(of) => (
            <>
              <Facts>
                <Fact name="Generation"><span class="figure" data-figure="generation">{number(of.generation)}</span></Fact>
                <Fact name="Source"><code>{of.source}</code></Fact>
                <Fact name="Hash"><code>{of.hash}</code></Fact>
                <Fact name="Loaded"><Time at={of.loaded_at} now={of.now} /></Fact>
                <Fact name="Process started"><Time at={of.started} now={of.now} /></Fact>
                <Fact name="Can be written here">{of.writable ? "yes" : "no"}</Fact>
              </Facts>
              {of.why_not && <Note>{of.why_not}</Note>}
              <h3>Entities</h3>
              <Facts>{Object.entries(of.entities ?? {}).map(([kind, count]) => <Fact key={kind} name={kind.replaceAll("_", " ")}>{number(count as number)}</Fact>)}</Facts>
            </>
          )}
        </Show>
      </Card>
      <Card title="Last reload" curl={<Curl path={path} />}>
        <Show of={known}>{(of) => (of.last_reload ? <Reload of={of.last_reload} now={of.now} /> : <Empty title="Nothing was reloaded since the start" />)}</Show>
      </Card>
      {known.data?.last_failure && known.data.last_failure.at !== known.data.last_reload?.at && <Card title="Last reload that failed" tone="warn" curl={<Curl path={path} />}><Reload of={known.data.last_failure} now={known.data.now} /></Card>}
      <Card title="Difference to the one before" curl={<Curl path={path} />}>
        <Show of={known}>{(of) => <Difference of={of.difference} />}</Show>
      </Card>
    </Page>
  );
}

function Reload({ of, now }: { of: Entity; now: number }) {
  return (
    <>
      <Facts>
        <Fact name="Outcome"><Badge tone={of.success ? "good" : "bad"}>{of.success ? "taken over" : "failed; the one before stays in use"}</Badge></Fact>
        <Fact name="When"><Time at={of.at} now={now} /></Fact>
        {typeof of.took_ms === "number" && <Fact name="Took">{of.took_ms >= 1000 ? `${(of.took_ms / 1000).toFixed(1)} s` : `${of.took_ms.toFixed(1)} ms`}</Fact>}
        <Fact name="Generation">{number(of.generation)}</Fact>
      </Facts>
      {of.diagnostics?.length > 0 && (
        <ul class="diagnostics" role="list">
          {of.diagnostics.map((one: Entity, at: number) => (
            <li key={at} class={one.severity}>
              <p><Badge tone={one.severity === "error" ? "bad" : "warn"}>{one.severity}</Badge> <strong>{one.message}</strong></p>
              <p class="detail">{one.place && <code>{one.place.file}:{one.place.line}{one.place.column ? `:${one.place.column}` : ""}</code>} {one.path && <code>{one.path}</code>}</p>
              {one.help && <p class="detail">{one.help}</p>}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

const SIGN: Record<string, string> = { added: "+", removed: "−", changed: "±" };

function Difference({ of }: { of: Entity | null }) {
  if (!of) return <Empty title="This is the first configuration of this process" />;
  if (of.pending) return <p class="loading" aria-busy="true"><span class="spinner" aria-hidden="true" />Working out what changed…</p>;
  if (!of.kinds?.length) return <Empty title={`Generations ${of.from} and ${of.to} hold the same`} />;
  return (
    <>
      <p class="muted">From generation {of.from} to {of.to}</p>
      {of.kinds.map((kind: Entity) => (
        <div key={kind.kind} class="diff">
          <h3>{kind.kind.replaceAll("_", " ")}</h3>
          <ul role="list">
            {["added", "removed", "changed"].filter((what) => kind[what] > 0).map((what) => (
              <li key={what} class={what}><span class="mark" aria-hidden="true">{SIGN[what]}</span> {number(kind[what])} {what}: {(kind.names?.[what] ?? []).map((name: string) => <code key={name}>{name} </code>)}{kind[what] > (kind.names?.[what]?.length ?? 0) && <span class="muted">and more</span>}</li>
            ))}
          </ul>
        </div>
      ))}
    </>
  );
}
