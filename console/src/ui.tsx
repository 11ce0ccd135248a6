// The parts that all pages are made of.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { curl, Refused, Unreachable, type Entity, type Json } from "./api";
import type { Loaded } from "./hooks";
import { store, useStore } from "./store";

type Children = { children?: ComponentChildren };

/** What a screen reader is told of what just happened. */
export const announced = store("");
export const announce = (text: string): void => announced.set(text);

export function Announcer() {
  return <div class="unseen" role="status" aria-live="polite">{useStore(announced)}</div>;
}

/** A page: its heading takes the focus when the page is opened by a link. */
export function Page({ title, lead, actions, children }: Children & { title: ComponentChildren; lead?: ComponentChildren; actions?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${heading.current?.textContent ?? ""} · Portcullis`;
  });
  useEffect(() => {
    if (navigated) heading.current?.focus();
    navigated = true;
    scrollTo(0, 0);
  }, []);
  return (
    <>
      <header class="page-head">
        <div>
          <h1 ref={heading} tabIndex={-1}>{title}</h1>
          {lead && <p class="lead">{lead}</p>}
        </div>
        {actions && <div class="actions">{actions}</div>}
      </header>
      {children}
    </>
  );
}
let navigated = false;

export function Card({ title, actions, children, tone, curl }: Children & { title?: ComponentChildren; actions?: ComponentChildren; tone?: "warn" | "good" | "bad"; curl?: ComponentChildren }) {
  const id = useId();
  return (
    <section class={`card ${tone ?? ""}`} aria-labelledby={title ? id : undefined}>
      {(title || actions) && (
        <div class="card-head">
          {title && <h2 id={id}>{title}</h2>}
          {actions && <div class="actions">{actions}</div>}
        </div>
      )}
      {children}
      {curl}
    </section>
  );
}

export function Button({ kind = "plain", ...rest }: JSX.ButtonHTMLAttributes<HTMLButtonElement> & { kind?: "plain" | "primary" | "danger" | "quiet" }) {
  return <button type="button" {...rest} class={`button ${kind}`} />;
}

export function ButtonLink({ href, kind = "plain", children }: Children & { href: string; kind?: "plain" | "primary" }) {
  return <a class={`button ${kind}`} href={href}>{children}</a>;
}

export function Badge({ tone = "calm", children }: Children & { tone?: "calm" | "good" | "warn" | "bad" | "info" }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

export function Note({ tone = "info", title, children, role }: Children & { tone?: "info" | "good" | "warn" | "bad"; title?: ComponentChildren; role?: "alert" | "status" }) {
  return (
    <div class={`note ${tone}`} role={role}>
      {title && <strong>{title}</strong>}
      <div>{children}</div>
    </div>
  );
}

/** Why something was not done or cannot be shown. */
export function Failure({ error }: { error: Error }) {
  if (error instanceof Unreachable) return <Note tone="bad" title="The gateway does not answer">This comes back by itself once it does.</Note>;
  const status = error instanceof Refused ? ` (${error.status})` : "";
  return <Note tone="bad" role="alert" title={`The Admin API refused this${status}`}>{error.message}</Note>;
}

/** What was loaded, or that it is being loaded, or why it was not. */
export function Show<T>({ of, children }: { of: Loaded<T>; children(data: T): ComponentChildren }) {
  if (of.error) return <Failure error={of.error} />;
  if (of.data === null) return <p class="loading" aria-busy="true"><span class="spinner" aria-hidden="true" />Loading…</p>;
  return <>{children(of.data)}</>;
}

export function Empty({ title, children }: Children & { title: string }) {
  return <div class="empty"><p><strong>{title}</strong></p>{children}</div>;
}

/** A command line that does the same as what it stands beside. */
export function Curl({ method = "GET", path, body }: { method?: string; path: string; body?: Json | Entity }) {
  const line = curl(method, path, body);
  return (
    <div class="curl">
      <span class="unseen">The same with curl: </span>
      <code>{line}</code>
      <Copy text={line} label="Copy the curl command" />
    </div>
  );
}

export function Copy({ text, label }: { text: string; label: string }) {
  const [done, set] = useState(false);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Pages that came over plain HTTP from another machine have no clipboard interface.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    set(true);
    announce("Copied");
    setTimeout(() => set(false), 1500);
  };
  return <button type="button" class="copy" onClick={copy} aria-label={label}>{done ? "Copied" : "Copy"}</button>;
}

export interface Column<T> {
  head: ComponentChildren;
  cell(row: T): ComponentChildren;
  /** Numbers stand at the right. */
  number?: boolean;
}

/** A table; on a narrow screen each row is a block of labelled lines. Roles are said, because blocks would lose them. */
export function Table<T>({ caption, columns, rows, id }: { caption: string; columns: Column<T>[]; rows: T[]; id(row: T): string }) {
  return (
    <table role="table">
      <caption class="unseen">{caption}</caption>
      <thead role="rowgroup">
        <tr role="row">{columns.map((column, at) => <th key={at} role="columnheader" scope="col" class={column.number ? "number" : ""}>{column.head}</th>)}</tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr role="row" key={id(row)}>
            {columns.map((column, at) => (
              <td key={at} role="cell" class={column.number ? "number" : ""}>
                <span class="cell-label" aria-hidden="true">{column.head}</span>
                <span class="cell-value">{column.cell(row)}</span>
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function Facts({ children }: Children) {
  return <dl class="facts">{children}</dl>;
}
export function Fact({ name, children }: Children & { name: string }) {
  return <div><dt>{name}</dt><dd>{children}</dd></div>;
}

/** A question that must be answered before anything else; the browser keeps the focus inside. */
export function Dialog({ title, onClose, children }: Children & { title: string; onClose(): void }) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog ref={element} aria-labelledby={id} onCancel={(event) => { event.preventDefault(); onClose(); }}>
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}

/** Asks before something is deleted. */
export function Confirm({ title, action, onConfirm, onClose, children }: Children & { title: string; action: string; onConfirm(): Promise<void>; onClose(): void }) {
  const [error, fail] = useState<Error | null>(null);
  const [busy, work] = useState(false);
  const confirm = async (): Promise<void> => {
    work(true);
    try {
      await onConfirm();
    } catch (fault) {
      fail(fault as Error);
      work(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      {error && <Failure error={error} />}
      <div class="actions end">
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="danger" disabled={busy} onClick={confirm}>{action}</Button>
      </div>
    </Dialog>
  );
}

/** Text that is shown this once. */
export function Once({ name, value }: { name: string; value: string }) {
  return (
    <div class="once">
      <span class="once-name">{name}</span>
      <code>{value}</code>
      <Copy text={value} label={`Copy ${name}`} />
    </div>
  );
}

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [["year", 31_536_000], ["month", 2_592_000], ["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always" });

/** A span in words: `3 days ago`, `in 2 hours`. */
export function ago(seconds: number): string {
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit);
  }
  return "just now";
}

export const iso = (seconds: number): string => {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toISOString().replace(".000Z", "Z");
};

/** A time: when it was, and how long ago. */
export function Time({ at, now }: { at: number | null | undefined; now?: number }) {
  if (at === null || at === undefined) return <span class="muted">never</span>;
  const text = iso(at);
  return <time dateTime={text} title={text}>{ago(at - (now ?? Date.now() / 1000))}</time>;
}

export const number = (value: number | null | undefined): string => (value === null || value === undefined ? "–" : value.toLocaleString("en"));

export function Tags({ of }: { of: string[] | null | undefined }) {
  return of?.length ? <span class="tags">{of.map((tag) => <Badge key={tag}>{tag}</Badge>)}</span> : <span class="muted">–</span>;
}
