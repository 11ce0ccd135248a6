// What applies to a request, where it comes from, and who may make it.
import { useState } from "preact/hooks";
import type { Entity } from "./api";
import { useLoad } from "./hooks";
import { MethodField } from "./inspector";
import { go, to } from "./router";
import { Badge, Button, Card, Curl, Empty, Note, Page, Show, number } from "./ui";

export function Lookup({ query }: { query: URLSearchParams }) {
  const asked = query.get("url");
  const [method, choose] = useState(query.get("method") ?? "GET");
  const [url, type] = useState(asked ?? "/");
  const path = asked === null ? null : `/effective?${new URLSearchParams({ method: query.get("method") ?? "GET", url: asked })}`;
  const found = useLoad<Entity>(path);
  const look = (event: Event): void => {
    event.preventDefault();
    go(`${to("lookup")}?${new URLSearchParams({ method, url })}`);
    if (url === asked) found.reload();
  };
  return (
    <Page title="Who may call" lead="The route a request takes, the plugins that apply to it and where they come from, and who gets through.">
      <Card curl={path && <Curl path={path} />}>
        <form class="columns ask" onSubmit={look}>
          <MethodField value={method} set={choose} />
          <div class="field grow"><label for="url">URL or path</label><input id="url" value={url} spellcheck={false} onInput={(event) => type(event.currentTarget.value)} aria-describedby="url-hint" /><p class="hint" id="url-hint">/path, or https://host/path where host or scheme matter</p></div>
          <Button kind="primary" type="submit">Look up</Button>
        </form>
      </Card>
      <div aria-live="polite">{path && <Show of={found}>{(of) => <Answer of={of} query={`?${new URLSearchParams({ method: of.request.method, url: asked! })}`} />}</Show>}</div>
    </Page>
  );
}

function Answer({ of, query }: { of: Entity; query: string }) {
  if (!of.route) return <Card tone="warn" title="No route takes this request"><p>It is answered 404.</p></Card>;
  const who = of.who ?? {};
  return (
    <>
      <Card title="Who gets through" tone={who.open ? "bad" : who.any_consumer ? "warn" : "good"}>
        <p class="summary">{who.text}</p>
        {who.consumers?.length > 0 && <p class="tags">{who.consumers.map((one: Entity) => <a key={one.id} href={to("consumers", one.id)}>{one.username ?? one.custom_id ?? one.id}</a>)}{who.consumers_total > who.consumers.length && <span class="muted">and {number(who.consumers_total - who.consumers.length)} more</span>}</p>}
        {of.warnings?.map((warning: Entity) => <Note key={warning.code + warning.message} tone="warn" title={warning.message}>{warning.help}</Note>)}
        <p><a href={to("inspect") + query}>Inspect a token for this request</a></p>
      </Card>
      <Card title="Route">
        <p><a href={to("routes", of.route.id)}>{of.route.name ?? of.route.id}</a>{of.route.service ? <> to the service <a href={to("services", of.route.service.id)}>{of.route.service.name ?? of.route.service.id}</a></> : <span class="muted"> without a service</span>}</p>
      </Card>
      <Card title="Plugins, in the order they run">
        {of.plugins.length ? (
          <ol class="chain">
            {of.plugins.map((plugin: Entity) => (
              <li key={plugin.id} class={plugin.runs ? "" : "off"}>
                <p>
                  <a href={to("plugins", plugin.id)}><strong>{plugin.name}</strong></a> <Badge tone="info">{plugin.scope}</Badge> {plugin.authenticates && <Badge>authenticates</Badge>} {!plugin.runs && <Badge tone="warn">does not run</Badge>}
                  <span class="muted"> priority {plugin.priority}</span>
                </p>
                {plugin.why_not && <p class="detail">{plugin.why_not}</p>}
                {plugin.consumers && <p class="detail">For {plugin.consumers.map((one: Entity) => one.username ?? one.id).join(", ")}{plugin.consumers_total > plugin.consumers.length && ` and ${number(plugin.consumers_total - plugin.consumers.length)} more`}</p>}
                <details><summary>Configuration of {plugin.name}</summary><pre tabIndex={0}>{JSON.stringify(plugin.config, null, 2)}</pre></details>
              </li>
            ))}
          </ol>
        ) : <Empty title="No plugin applies"><p>Whoever reaches the gateway may call this.</p></Empty>}
      </Card>
    </>
  );
}
