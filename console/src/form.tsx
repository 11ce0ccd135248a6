// Forms drawn from schema tables: one input for every field, errors beside the field they belong to.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, isReadOnly, Refused, type Entity } from "./api";
import { FIRST, HINTS } from "./hints";
import { at, changes, errorTree, fieldsOf, fromLines, mapFromLines, mapToLines, messages, put, scalar, toLines, type Def } from "./schema";
import { announce, Button, Curl, Failure, Note } from "./ui";

interface Cx {
  kind: string;
  values: Entity;
  errors: any;
  readOnly: boolean;
  set(path: string[], value: any): void;
}

const idOf = (path: string[]): string => "field-" + path.join("-");

export function SchemaForm(props: {
  kind: string;
  schema: Def;
  initial: Entity;
  /** Fields beside those of the schema's that are always sent, e.g. a plugin's name. */
  fixed?: Entity;
  hidden?: string[];
  method: "POST" | "PATCH";
  path: string;
  action: string;
  readOnly?: boolean;
  onCancel?(): void;
  onSubmit(body: Entity): Promise<void>;
}) {
  const { kind, schema, initial } = props;
  const [values, set] = useState<Entity>(initial);
  const [error, fail] = useState<Error | null>(null);
  const [busy, work] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const errors = error instanceof Refused ? underUrl(kind, errorTree(error)) : {};
  const said = messages(errors);
  const readOnly = props.readOnly ?? isReadOnly();
  const body = { ...props.fixed, ...changes(schema, initial, values) };
  const nothing = Object.keys(body).length === 0;
  const cx: Cx = { kind, values, errors, readOnly, set: (path, value) => set((old) => put(old, path, value)) };
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    work(true);
    try {
      await props.onSubmit(body);
      fail(null);
    } catch (fault) {
      fail(fault as Error);
    }
    work(false);
  };
  useEffect(() => {
    if (error) form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  }, [error]);
  const all = fieldsOf(schema).filter(([name, def]) => !def.auto && !(name in (props.fixed ?? {})) && !props.hidden?.includes(name));
  return (
    <form ref={form} onSubmit={submit} noValidate autocomplete="off">
      {error && !said.length && <Failure error={error} />}
      {said.length > 0 && (
        <Note tone="bad" role="alert" title={said.length === 1 ? "One field needs attention" : `${said.length} fields need attention`}>
          <ul>
            {said.map(([path, text]) => (
              <li key={path.join(".") + text}>
                {path.length > 0 && <button type="button" class="link" onClick={() => document.getElementById(idOf(path))?.focus()}>{path.join(".")}</button>} {text}
              </li>
            ))}
          </ul>
        </Note>
      )}
      <Fields cx={cx} path={[]} fields={all} first={FIRST[kind]} />
      {!readOnly && (
        <div class="actions end">
          {props.onCancel && <Button onClick={props.onCancel}>Cancel</Button>}
          <Button kind="primary" type="submit" disabled={busy || (props.method === "PATCH" && nothing)}>{props.action}</Button>
        </div>
      )}
      {nothing ? <Curl path={props.path} /> : !readOnly && <Curl method={props.method} path={props.path} body={body} />}
    </form>
  );
}

/** A service's address is one field here, and four to the Admin API. */
function underUrl(kind: string, errors: any): any {
  if (kind !== "services") return errors;
  const { protocol, host, port, path, ...others } = errors;
  const parts = Object.entries({ protocol, host, port, path }).filter(([, text]) => text !== undefined);
  if (!parts.length) return errors;
  return { url: parts.map(([name, text]) => `${name}: ${text}`).join("; "), ...others };
}

/** The fields of a record: the usual ones first, the others folded away. */
function Fields({ cx, path, fields, first }: { cx: Cx; path: string[]; fields: [string, Def][]; first?: string[] }) {
  const [filter, narrow] = useState("");
  const known = new Map(fields);
  const front = first ? first.filter((name) => known.has(name)).map((name): [string, Def] => [name, known.get(name)!]) : fields;
  const config = fields.filter(([name, def]) => !path.length && name === "config" && def.type === "record");
  const rest = fields.filter((field) => !front.some(([name]) => name === field[0]) && !config.includes(field));
  const faulty = rest.some(([name]) => at(cx.errors, [...path, name]) !== undefined);
  const shown = rest.filter(([name]) => name.includes(filter.trim().toLowerCase().replaceAll(" ", "_")));
  return (
    <>
      {front.map(([name, def]) => <Field key={name} cx={cx} path={[...path, name]} def={def} />)}
      {config.map(([name, def]) => <Field key={name} cx={cx} path={[...path, name]} def={def} />)}
      {rest.length > 0 && (
        <details class="more" open={faulty}>
          <summary>More settings ({rest.length})</summary>
          {rest.length > 12 && (
            <div class="field">
              <label for={`filter-${path.join("-")}`}>Find a setting</label>
              <input id={`filter-${path.join("-")}`} value={filter} onInput={(event) => narrow(event.currentTarget.value)} />
            </div>
          )}
          {shown.map(([name, def]) => <Field key={name} cx={cx} path={[...path, name]} def={def} />)}
          {!shown.length && <p class="muted">No setting has this in its name.</p>}
        </details>
      )}
    </>
  );
}

function Field({ cx, path, def }: { cx: Cx; path: string[]; def: Def }) {
  const name = path.at(-1)!;
  const error = at(cx.errors, path);
  if (def.type === "record") {
    const first = FIRST[`${cx.kind}.${cx.values.name}`];
    return (
      <fieldset>
        <legend>{name}</legend>
        {typeof error === "string" && <p class="field-error">{error}</p>}
        <Fields cx={cx} path={path} fields={fieldsOf(def)} first={path.length === 1 && name === "config" ? first : undefined} />
      </fieldset>
    );
  }
  const id = idOf(path);
  const value = at(cx.values, path) ?? null;
  const text = error === undefined ? "" : messages(error).map(([, message]) => message).join("; ");
  const hint = [HINTS[`${cx.kind}.${path.join(".")}`], def.auto && "generated when empty", rule(def)].filter(Boolean).join(" · ");
  const described = [hint && `${id}-hint`, text && `${id}-error`].filter(Boolean).join(" ") || undefined;
  const common = { id, "aria-describedby": described, "aria-invalid": text ? true : undefined, "aria-required": mustBeGiven(def) ? true : undefined };
  const set = (next: any): void => cx.set(path, next);
  const group = (def.type === "set" || def.type === "array") && !!def.elements?.one_of;
  const label = <>{name}{mustBeGiven(def) && <span class="required" aria-hidden="true"> *</span>}</>;
  const after = (
    <>
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
      {text && <p class="field-error" id={`${id}-error`}>{text}</p>}
    </>
  );
  if (group) {
    const chosen: any[] = Array.isArray(value) ? value : [];
    return (
      <fieldset class="choices" {...common} tabIndex={-1}>
        <legend>{label}</legend>
        <div class="choice-list">
          {def.elements!.one_of!.map((option) => (
            <label key={option} class="choice">
              <input type="checkbox" disabled={cx.readOnly} checked={chosen.includes(option)} onChange={(event) => {
                const next = event.currentTarget.checked ? [...chosen, option] : chosen.filter((item) => item !== option);
                set(next.length || def.required ? next : null);
              }} />
              {String(option)}
            </label>
          ))}
        </div>
        {after}
      </fieldset>
    );
  }
  if (def.type === "boolean" && def.required !== false && (def.default !== undefined || def.required)) {
    return (
      <div class="field switch">
        <label class="choice"><input type="checkbox" {...common} disabled={cx.readOnly} checked={value === true} onChange={(event) => set(event.currentTarget.checked)} />{label}</label>
        {after}
      </div>
    );
  }
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <Input def={def} value={value} set={set} readOnly={cx.readOnly} common={common} />
      {after}
    </div>
  );
}

const mustBeGiven = (def: Def): boolean => !!def.required && def.default === undefined && !def.auto;

function Input({ def, value, set: give, readOnly, common }: { def: Def; value: any; set(value: any): void; readOnly: boolean; common: any }) {
  const list = def.type === "array" || def.type === "set";
  const map = def.type === "map" && ["string", "integer", "number", "boolean"].includes((def.values?.elements ?? def.values)?.type ?? "");
  // A secret that is there is not shown again: it stays unless something is typed over it.
  const [before] = useState(value);
  const secret = !!(def.encrypted || def.elements?.encrypted) && !common.id.endsWith("-client_id");
  const kept = secret && before !== null && before.length !== 0;
  const set = (next: any): void => give(kept && (next === null || next.length === 0) ? before : next);
  if (kept) common = { ...common, placeholder: "Kept as it is; type to replace it" };
  const text = useMemo(() => (kept ? "" : list ? toLines(value) : map ? mapToLines(value) : typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : String(value ?? "")), []);
  if (def.type === "foreign") return <Reference to={def.reference!} value={value} set={set} readOnly={readOnly} common={common} />;
  if (def.one_of || def.type === "boolean") {
    const options: any[] = def.one_of ?? [true, false];
    return (
      <select {...common} disabled={readOnly} value={value === null ? "" : String(value)} onChange={(event) => {
        const chosen = event.currentTarget.value;
        set(chosen === "" ? null : options.find((option) => String(option) === chosen));
      }}>
        {(!def.required || value === null) && <option value="">not set</option>}
        {options.map((option) => <option key={option} value={String(option)}>{String(option)}</option>)}
      </select>
    );
  }
  if (list || def.type === "map" || def.type === "json" || def.type === "record") {
    const read = (typed: string): any => (list ? fromLines(typed, def.elements) : map ? mapFromLines(typed, def.values) : typed.trim() === "" ? null : scalar(typed, "json"));
    return <textarea {...common} rows={Math.min(8, Math.max(2, text.split("\n").length))} spellcheck={false} readOnly={readOnly} onInput={(event) => set(read(event.currentTarget.value) ?? (list && def.required ? [] : null))}>{text}</textarea>;
  }
  const numeric = def.type === "integer" || def.type === "number";
  if (secret && !list) return <input {...common} type="password" autocomplete="new-password" readOnly={readOnly} defaultValue={text} onInput={(event) => set(event.currentTarget.value || null)} />;
  if (text.includes("\n")) return <textarea {...common} rows={6} spellcheck={false} readOnly={readOnly} onInput={(event) => set(event.currentTarget.value || null)}>{text}</textarea>;
  return <input {...common} inputMode={numeric ? "numeric" : undefined} spellcheck={false} readOnly={readOnly} defaultValue={text} onInput={(event) => {
    const typed = event.currentTarget.value;
    set(typed === "" ? null : scalar(typed, def.type));
  }} />;
}

const NAMED: Record<string, string> = { consumers: "username" };
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Another entity, by name or id; names are suggested. */
function Reference({ to, value, set, readOnly, common }: { to: string; value: any; set(value: any): void; readOnly: boolean; common: any }) {
  const key = NAMED[to] ?? "name";
  const [names, suggest] = useState<string[]>([]);
  const [text, show] = useState<string>(value?.[key] ?? value?.id ?? "");
  useEffect(() => {
    if (value?.id) get(`/${to}/${value.id}`).then((found) => show(found[key] ?? found.id), () => {});
  }, []);
  const load = (): void => {
    if (!names.length) get(`/${to}?size=200`).then((page) => suggest(page.data.map((entity: Entity) => entity[key]).filter(Boolean)), () => {});
  };
  return (
    <>
      <input {...common} list={`${common.id}-names`} value={text} readOnly={readOnly} onFocus={load} spellcheck={false} onInput={(event) => {
        const typed = event.currentTarget.value;
        show(typed);
        const name = typed.trim();
        set(name === "" ? null : UUID.test(name) ? { id: name } : { [key]: name });
      }} />
      <datalist id={`${common.id}-names`}>{names.map((name) => <option key={name} value={name} />)}</datalist>
    </>
  );
}

/** What a value must be, as far as the schema says it in short. */
function rule(def: Def): string {
  const parts: string[] = [];
  const of = def.elements ?? def;
  if (def.type === "array" || def.type === "set") {
    if (!of.one_of) parts.push("one per line");
  }
  if (of.between) parts.push(`${of.between[0]} to ${of.between[1]}`);
  if (typeof of.gt === "number") parts.push(`above ${of.gt}`);
  if (def.default !== undefined && def.default !== null && def.type !== "boolean" && !(Array.isArray(def.default) && !def.default.length) && typeof def.default !== "object") parts.push(`default ${def.default}`);
  return parts.join(", ");
}

/** Says that something was saved, for those who do not see it. */
export const saved = (what: string): void => announce(`${what} saved`);
