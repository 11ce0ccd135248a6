// The console's frame: navigation, the state of the connection, and the page that the address names.
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { connection, epoch, get, isReadOnly, node, status, unlock, watch } from "./api";
import { Configuration } from "./configuration";
import { Create, Detail, List } from "./entities";
import { Inspector } from "./inspector";
import { Keys, Tokens } from "./keys";
import { KINDS } from "./kinds";
import { Live } from "./live";
import { Lookup } from "./lookup";
import { Overview } from "./overview";
import { place, to, type Place } from "./router";
import { useStore } from "./store";
import { Announcer, Badge, Button, Card, Note, Page } from "./ui";

const NAVIGATION: [string, [string, string][]][] = [
  ["", [["", "Overview"]]],
  ["Diagnose", [["inspect", "Inspect a token"], ["lookup", "Who may call"], ["live", "Live"]]],
  ["Configure", [["consumers", "Consumers"], ["services", "Services"], ["routes", "Routes"], ["plugins", "Plugins"]]],
  ["Trust", [["keys", "Keys and issuers"], ["oauth2", "OAuth2"]]],
  ["Process", [["configuration", "Configuration"]]],
];

function Current({ at }: { at: Place }) {
  const [first = "", second] = at.path;
  if (first in KINDS) {
    if (second === "new") return <Create kind={first} query={at.query} />;
    if (second) return <Detail kind={first} id={second} />;
    return <List kind={first} />;
  }
  switch (first) {
    case "":
      return <Overview />;
    case "inspect":
      return <Inspector query={at.query} />;
    case "lookup":
      return <Lookup query={at.query} />;
    case "live":
      return <Live />;
    case "keys":
      return <Keys />;
    case "oauth2":
      return <Tokens />;
    case "configuration":
      return <Configuration />;
    default:
      return <Page title="Nothing is here"><p><a href={to()}>Overview</a></p></Page>;
  }
}

function Unlock() {
  const [token, type] = useState("");
  const [wrong, say] = useState(false);
  const open = async (event: Event): Promise<void> => {
    event.preventDefault();
    unlock(token);
    try {
      status.set(await get("/status"));
      node.set(await get("/"));
    } catch {
      say(connection.get() === "locked");
    }
  };
  return (
    <Page title="Admin token">
      <Card>
        <form onSubmit={open}>
          <p>This gateway asks for its <code>admin_token</code>. The console keeps it until this page is closed or loaded anew.</p>
          <div class="field">
            <label for="admin-token">Admin token</label>
            <input id="admin-token" type="password" autocomplete="current-password" aria-invalid={wrong || undefined} aria-describedby={wrong ? "admin-token-error" : undefined} value={token} onInput={(event) => type(event.currentTarget.value)} />
            {wrong && <p class="field-error" id="admin-token-error" role="alert">This is not the token.</p>}
          </div>
          <Button kind="primary" type="submit">Open</Button>
        </form>
      </Card>
    </Page>
  );
}

const MODES = ["auto", "light", "dark"] as const;

function useMode(): [string, (mode: string) => void] {
  const [mode, set] = useState<string>(() => {
    try {
      return localStorage.getItem("mode") ?? "auto";
    } catch {
      return "auto";
    }
  });
  useEffect(() => {
    document.documentElement.dataset.mode = mode;
    try {
      localStorage.setItem("mode", mode);
    } catch {
      // Storage may be forbidden; the choice then lasts as long as the page.
    }
  }, [mode]);
  return [mode, set];
}

function App() {
  const at = useStore(place);
  const state = useStore(connection);
  useStore(status);
  useStore(node);
  // A page whose first load failed is shown anew when the gateway is back.
  useStore(epoch);
  const [open, unfold] = useState(false);
  const [mode, choose] = useMode();
  const main = useRef<HTMLElement>(null);
  const here = at.path[0] ?? "";
  useEffect(() => unfold(false), [at]);
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>To the content</a>
      <header class="top">
        <a class="brand" href={to()}><img src="icon.svg" alt="" width="26" height="26" />Portcullis</a>
        <span class="state" role="status">
          {state === "ok" ? <><span class="dot good" aria-hidden="true" />{isReadOnly() ? "Read only" : "Connected"}</> : state === "locked" ? <><span class="dot warn" aria-hidden="true" />Locked</> : <><span class="dot bad" aria-hidden="true" />No answer</>}
        </span>
        <button type="button" class="menu" aria-expanded={open} aria-controls="navigation" onClick={() => unfold(!open)}>Menu</button>
      </header>
      <div class="frame">
        <nav id="navigation" class={open ? "side open" : "side"} aria-label="Main">
          {NAVIGATION.map(([group, entries]) => (
            <div key={group} class="group">
              {group && <p class="group-name" id={`group-${group}`}>{group}</p>}
              <ul role="list" aria-labelledby={group ? `group-${group}` : undefined}>{entries.map(([path, name]) => <li key={path}><a href={path ? to(path) : to()} aria-current={here === path ? "page" : undefined}>{name}</a></li>)}</ul>
            </div>
          ))}
          <label class="mode">Colours <select value={mode} onChange={(event) => choose(event.currentTarget.value)}>{MODES.map((name) => <option key={name}>{name}</option>)}</select></label>
        </nav>
        <main id="main" ref={main} tabIndex={-1}>
          {state === "lost" && (
            <div class="lost" role="alert"><Note tone="bad" title="The gateway does not answer">What you see may be out of date. The console asks again every second and goes on by itself. <Badge tone="bad">trying</Badge></Note></div>
          )}
          {state === "locked" ? <Unlock /> : <Current key={at.path.join("/") + (at.path[1] === "new" ? at.query : "")} at={at} />}
        </main>
      </div>
      <Announcer />
    </>
  );
}

const root = document.getElementById("app")!;
root.textContent = "";
render(<App />, root);
watch();
