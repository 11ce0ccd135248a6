//! One entity on its way from a value to a typed, checked, unique member of the dataset.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::fault::Stage;
use super::super::ids::Derived;
use super::super::path::{At, Step};
use super::super::{excerpt, migrate, unsupported, vault};
use super::index::unique_text;
use super::{Loader, Parent, Waiting, fill, kept};
use crate::diagnostic::Diagnostic;
use crate::entity::{Dataset, Entity, Kind};
use crate::plugins;
use crate::schema::{Table, Violations};

const NESTED: &str = "it is nested in what it belongs to; remove the field, or name the same entity";

/// A reference that leads nowhere: field, what was written, what it should have been.
type Dangling = (&'static str, Value, Kind);

impl Loader<'_> {
    /// Takes one entity in, and what is nested in it.
    pub(super) fn entity(&mut self, kind: Kind, value: Value, at: &At<'_>, parent: Option<&Parent>) {
        let document = match value {
            Value::Object(document) => document,
            // A certificate may list its server names as texts, as in the Admin API.
            Value::String(name) if kind == Kind::Sni && parent.is_some() => {
                Map::from_iter([("name".to_owned(), Value::String(name))])
            }
            _ => return self.fault(at.to_path(), "expected a record"),
        };
        let Some(mut document) = self.fast(kind, document, at, parent) else { return };
        if document.keys().any(|key| key.starts_with('_')) {
            self.comments(kind, &mut document, at);
        }
        if kind == Kind::Plugin && !self.is_supported(&document, at) {
            return;
        }
        let children = self.take_children(kind, &mut document, at);
        self.decorate(kind, &mut document);
        let mut sound = true;
        let mut dangling = Vec::new();
        self.references(kind, &mut document, at, parent, &mut sound, &mut dangling);
        let id = self.identify(kind, &mut document);
        let file = file_of(at);
        if self.references.get(file).copied().unwrap_or(true) {
            self.resolve_vaults(kind, &mut document, at);
        }
        let Some(plan) = self.plans.get(kind as usize) else { return };
        let table = plan.table;
        if self.yaml.get(file).copied().unwrap_or(true) {
            let special = table.special(&document).map(|special| &special.record);
            vault::old_booleans(&table.record, special, &mut document);
        }
        let key = plan.table.endpoint_key.filter(|_| !children.is_empty() || !dangling.is_empty());
        let key: Option<Box<str>> = key.and_then(|key| Some(document.get(key)?.as_str()?.into()));
        for (field, written, target) in dangling {
            sound = false;
            self.dangling(kind, field, &written, target, at, key.as_deref().unwrap_or(""), id);
        }
        let me = Parent { kind, id: id.unwrap_or_default(), key };
        self.insert(kind, table, document, id, at, sound);
        for (name, child, list) in children {
            self.children(&me, name, child, list, at);
        }
    }

    /// Takes `_comment`, `_ignore` and a plugin's `_config` out.
    fn comments(&mut self, kind: Kind, document: &mut Map<String, Value>, at: &At<'_>) {
        match document.swap_remove("_comment") {
            None | Some(Value::String(_) | Value::Null) => {}
            Some(_) => self.fault(at.to_path().then("_comment"), "expected a string"),
        }
        match document.swap_remove("_ignore") {
            None | Some(Value::Array(_) | Value::Null) => {}
            Some(_) => self.fault(at.to_path().then("_ignore"), "expected an array"),
        }
        if kind != Kind::Plugin {
            return;
        }
        match document.swap_remove("_config") {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) => match self.header.plugin_configs.get(&name) {
                Some(Value::Object(shared)) => {
                    let config = document.entry("config").or_insert_with(|| Value::Object(Map::new()));
                    if config.is_null() {
                        *config = Value::Object(Map::new());
                    }
                    if let Value::Object(config) = config {
                        fill(config, shared);
                    }
                }
                _ => {
                    let message = format!("there is no '{name}' in '_plugin_configs'");
                    let mut diagnostic = Diagnostic::error("plugin-config", "", message.as_str());
                    diagnostic.help = unsupported::did_you_mean(
                        &name,
                        self.header.plugin_configs.keys().map(String::as_str).collect::<Vec<_>>(),
                    );
                    let path = at.to_path().then("_config");
                    let tree = self.tree(&path);
                    self.faults.kong(Stage::Schema, &tree, message.into());
                    self.faults.say(path, diagnostic);
                }
            },
            Some(_) => self.fault(at.to_path().then("_config"), "expected a string"),
        }
    }

    /// Whether a plugin can be taken in; says so if not.
    fn is_supported(&mut self, document: &Map<String, Value>, at: &At<'_>) -> bool {
        if document.get("consumer_group").is_some_and(|group| !group.is_null()) {
            let message = "plugins of consumer groups are not supported by Portcullis".to_owned();
            self.unsupported(at.to_path().then("consumer_group"), "unsupported-plugin", message, "unknown field", None);
            return false;
        }
        let Some(name) = document.get("name").and_then(Value::as_str) else { return true };
        if plugins::tables::plugin_table(name).is_some() {
            return true;
        }
        let path = at.to_path().then("name");
        let kong = format!("plugin '{name}' not enabled; add it to the 'plugins' configuration property");
        if plugins::tables::bundled().any(|bundled| bundled == name) {
            // Never left out: it may be the one that keeps requests out.
            let tree = self.tree(&path);
            self.faults.kong(Stage::Schema, &tree, kong.as_str().into());
            self.faults.say(path, Diagnostic::error("plugin-not-enabled", "", kong));
            return false;
        }
        let meant = unsupported::suggest(name, plugins::tables::names());
        if let (Some(meant), false) = (meant, unsupported::is_plugin(name)) {
            // A mistyped name is never left out: it may be the one that keeps requests out.
            let tree = self.tree(&path);
            self.faults.kong(Stage::Schema, &tree, kong.as_str().into());
            let diagnostic = Diagnostic::error("unknown-plugin", "", kong).help(format!("did you mean '{meant}'?"));
            self.faults.say(path, diagnostic);
            return false;
        }
        let (code, message) = if unsupported::is_plugin(name) {
            ("unsupported-plugin", format!("plugin '{name}' is not supported by Portcullis"))
        } else {
            ("unknown-plugin", kong.clone())
        };
        let open = unsupported::is_guard(name) || !unsupported::is_plugin(name);
        let warning = open.then_some("it was left out, as ignore_unsupported says: requests that it would refuse pass");
        self.unsupported(path, code, message, &kong, warning);
        false
    }

    /// Takes nested collections out of a document.
    fn take_children(
        &mut self,
        kind: Kind,
        document: &mut Map<String, Value>,
        at: &At<'_>,
    ) -> Vec<(String, Kind, Value)> {
        let is_child = |name: &String| !nested(kind, name).is_empty();
        if !document.keys().any(is_child) {
            return Vec::new();
        }
        let names: Vec<String> = document.keys().filter(|name| is_child(name)).cloned().collect();
        let mut children = Vec::with_capacity(names.len());
        for name in names {
            let Some(list) = document.swap_remove(&name) else { continue };
            match nested(kind, &name) {
                [Some(child)] => children.push((name, *child, list)),
                _ if list.is_null() => {}
                _ => self.unsupported_collection(at.to_path().then(name.as_str()), &name),
            }
        }
        children
    }

    pub(super) fn children(&mut self, parent: &Parent, name: String, kind: Kind, list: Value, at: &At<'_>) {
        let list_at = At::Key(at, &name);
        let list = match list {
            Value::Array(list) => list,
            Value::Null => return,
            Value::Object(map) if map.is_empty() => return,
            _ => return self.fault(list_at.to_path(), "expected an array"),
        };
        for (n, value) in list.into_iter().enumerate() {
            let at = At::Index(&list_at, n);
            // What may refer to entities that are read later.
            if matches!(kind, Kind::Route | Kind::Oauth2Token | Kind::Plugin) {
                self.waiting.entry(kind).or_default().push(Waiting {
                    value,
                    path: at.to_path(),
                    parent: parent.clone(),
                });
            } else {
                self.entity(kind, value, &at, Some(parent));
            }
        }
    }

    /// What files add to entities: decK's defaults and tags, and the paths of old formats.
    fn decorate(&mut self, kind: Kind, document: &mut Map<String, Value>) {
        if let Some(defaults) = self.header.defaults.get(&kind) {
            fill(document, defaults);
        }
        if !self.header.tags.is_empty() && kind != Kind::Oauth2Token {
            let tags = document.entry("tags").or_insert(Value::Null);
            if tags.is_null() {
                *tags = Value::Array(Vec::new());
            }
            if let Value::Array(tags) = tags {
                for tag in &self.header.tags {
                    if !tags.iter().any(|there| there == tag) {
                        tags.push(tag.as_str().into());
                    }
                }
            }
        }
        if kind == Kind::Route
            && self.header.old_paths
            && let Some(Value::Array(paths)) = document.get_mut("paths")
        {
            for path in paths {
                if let Value::String(path) = path {
                    *path = migrate::path(path);
                }
            }
        }
    }

    /// Brings every reference into the form `{"id": …}`.
    fn references(
        &mut self,
        kind: Kind,
        document: &mut Map<String, Value>,
        at: &At<'_>,
        parent: Option<&Parent>,
        sound: &mut bool,
        dangling: &mut Vec<Dangling>,
    ) {
        let mut denied = Vec::new();
        let Some(plan) = self.plans.get(kind as usize) else { return };
        for &(field, target) in &plan.foreign {
            let given = document.get(field).filter(|given| !given.is_null());
            if let Some(parent) = parent.filter(|parent| parent.kind == target) {
                if given.is_some_and(|given| !names_parent(given, parent)) {
                    denied.push((field, "value must be null", NESTED));
                }
                document.insert(field.to_owned(), id_value(parent.id));
                continue;
            }
            let Some(given) = given else { continue };
            let reference = match given {
                Value::String(reference) => Some(reference.as_str()),
                Value::Object(reference) => {
                    let endpoint =
                        self.plans.get(target as usize).and_then(|plan| plan.table.endpoint_key).unwrap_or("name");
                    ["id", endpoint, "name"].into_iter().find_map(|key| reference.get(key)?.as_str())
                }
                _ => {
                    denied.push((field, "expected a string", "name it by its name or id"));
                    document.insert(field.to_owned(), id_value(Uuid::nil()));
                    continue;
                }
            };
            let Some(target_plan) = self.plans.get(target as usize) else { continue };
            let id = reference.and_then(|reference| self.index.find(&self.dataset, target_plan, target, reference));
            if id.is_none() {
                dangling.push((field, given.clone(), target));
            }
            document.insert(field.to_owned(), id_value(id.unwrap_or_default()));
        }
        for (field, message, help) in denied {
            *sound = false;
            let path = at.to_path().then(field);
            let tree = self.tree(&path);
            self.faults.kong(Stage::Schema, &tree, message.into());
            self.faults.say(path, Diagnostic::error("schema", "", message).help(help));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    fn dangling(
        &mut self,
        kind: Kind,
        field: &str,
        written: &Value,
        target: Kind,
        at: &At<'_>,
        key: &str,
        id: Option<Uuid>,
    ) {
        let shown = written.as_str().map_or_else(|| written.to_string(), str::to_owned);
        let message = format!("invalid reference '{field}: {shown}' (no such entry in '{}')", target.collection());
        let filed = if key.is_empty() { id.map(|id| id.to_string()).unwrap_or_default() } else { key.to_owned() };
        let tree = [Step::from(kind.collection()), Step::Key(filed.into())];
        self.faults.kong(Stage::Reference, &tree, json!([message]));
        let names = self.names_of(target);
        let mut diagnostic = Diagnostic::error("reference", "", message);
        diagnostic.help = unsupported::did_you_mean(&shown, names.iter().map(String::as_str))
            .or_else(|| Some(format!("declare it under '{}', or correct the name", target.collection())));
        self.faults.say(at.to_path().then(field), diagnostic);
    }

    /// Names to choose a suggestion from; of many consumers only some.
    fn names_of(&self, kind: Kind) -> Vec<String> {
        const SOME: usize = 1000;
        match kind {
            Kind::Service => {
                self.dataset.services.iter().filter_map(|service| service.name.clone()).take(SOME).collect()
            }
            Kind::Route => self.dataset.routes.iter().filter_map(|route| route.name.clone()).take(SOME).collect(),
            Kind::Upstream => self.dataset.upstreams.iter().map(|upstream| upstream.name.clone()).take(SOME).collect(),
            Kind::Consumer => self
                .dataset
                .consumers
                .iter()
                .filter_map(|consumer| consumer.username.as_deref().map(str::to_owned))
                .take(SOME)
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Gives an entity its id, unless it has one.
    fn identify(&mut self, kind: Kind, document: &mut Map<String, Value>) -> Option<Uuid> {
        if let Some(given) = document.get("id").filter(|given| !given.is_null()) {
            return given.as_str().and_then(|id| Uuid::try_parse(id).ok());
        }
        let id = match self.ids.derive(kind, document)? {
            Derived::Key(id) => id,
            Derived::Content(first) => {
                let mut id = first;
                let mut again: u32 = 0;
                while self.index.has_id(&self.dataset, kind, id) {
                    again += 1;
                    id = Uuid::new_v5(&first, &again.to_be_bytes());
                }
                id
            }
        };
        document.insert("id".to_owned(), id_text(id));
        Some(id)
    }

    fn resolve_vaults(&mut self, kind: Kind, document: &mut Map<String, Value>, at: &At<'_>) {
        let Some(plan) = self.plans.get(kind as usize) else { return };
        let special = plan.table.special(document).map(|special| &special.record);
        for (field, message) in vault::resolve(&self.vaults, &plan.table.record, special, document) {
            let path = at.to_path().then_field(&field);
            let diagnostic = Diagnostic::warning("vault", "", format!("{message}; the field is empty"));
            self.faults.say(path, diagnostic.help("set the variable before the gateway starts"));
        }
    }

    /// Checks a document against its table, and takes it into the dataset.
    fn insert(
        &mut self,
        kind: Kind,
        table: &'static Table,
        document: Map<String, Value>,
        id: Option<Uuid>,
        at: &At<'_>,
        mut sound: bool,
    ) {
        let endpoint = self.plans.get(kind as usize).and_then(|plan| plan.endpoint);
        let name = endpoint.and_then(|field| document.get(field)).and_then(Value::as_str).map(str::to_owned);
        let updated_at =
            document.get("updated_at").filter(|at| at.is_i64() || (kind == Kind::Target && at.is_number())).cloned();
        let dated = document.contains_key("created_at") || document.contains_key("updated_at");
        let special = table.special(&document);
        let mut document = match table.insert(document, self.now) {
            Ok(document) => document,
            Err(violations) => {
                self.violations(&violations, at, &[special, Some(table)]);
                let endpoint = endpoint.zip(name.as_deref());
                self.index.broken(kind, endpoint, id.unwrap_or_default());
                return;
            }
        };
        // A dump that is loaded again keeps its times.
        if let Some(updated_at) = updated_at {
            document.insert("updated_at".to_owned(), updated_at);
        }
        if self.header.transform != Some(false) {
            table.transform(&mut document);
        }
        if self.references.get(file_of(at)).copied().unwrap_or(true) {
            let special = table.special(&document).map(|special| &special.record);
            vault::clear(&table.record, special, &mut document);
        }
        let id = document
            .get("id")
            .and_then(Value::as_str)
            .and_then(|id| Uuid::try_parse(id).ok())
            .or(id)
            .unwrap_or_default();
        sound &= self.is_unique(kind, &document, id, at);
        if !sound {
            self.index.broken(kind, None, id);
            return;
        }
        match Entity::from_document(kind, Value::Object(document)) {
            Ok(entity) => add(&mut self.dataset, kept::kept(&self.options.previous, entity, dated)),
            Err(error) => {
                let diagnostic = Diagnostic::error("schema", "", format!("does not fit its type: {error}"));
                self.faults.say(at.to_path(), diagnostic);
            }
        }
        self.remember(kind, id, at);
    }

    fn violations(&mut self, violations: &Violations, at: &At<'_>, tables: &[Option<&Table>]) {
        let path = at.to_path();
        let tree = self.tree(&path);
        self.faults.kong(Stage::Schema, &tree, Value::Object(violations.fields.clone()));
        for (field, message) in violations.flatten() {
            let field_path = path.then_field(&field);
            let name = field.rsplit('.').next().unwrap_or_default();
            let (code, help) = match message.as_str() {
                "unknown field" => ("unknown-field", meant_field(tables, &field, name)),
                "required field missing" if !name.starts_with('@') => ("schema", Some(format!("add '{name}'"))),
                "expected a boolean" => ("schema", Some("write true or false, without quotes".into())),
                "expected a string" => ("schema", Some("put it in quotes".into())),
                _ => ("schema", None),
            };
            let mut diagnostic = Diagnostic::error(code, "", message);
            diagnostic.help = help;
            if code == "unknown-field" {
                self.faults.say_at_key(field_path, diagnostic);
            } else {
                self.faults.say(field_path, diagnostic);
            }
        }
    }

    /// Whether id, endpoint key and unique values are this entity's alone; says so if not.
    fn is_unique(&mut self, kind: Kind, document: &Map<String, Value>, id: Uuid, at: &At<'_>) -> bool {
        let Some(plan) = self.plans.get(kind as usize) else { return true };
        let endpoint = plan.endpoint.and_then(|field| Some((field, document.get(field)?.as_str()?)));
        let mut clashes = Vec::new();
        if let Some((field, name)) = endpoint
            && !self.index.name(kind, field, name, id)
        {
            clashes.push((Stage::Reference, field, name.to_owned()));
        } else if !self.index.id(&self.dataset, kind, id) {
            clashes.push((Stage::Reference, "primary key", id.to_string()));
        }
        for &field in &plan.unique {
            if let Some(value) = unique_text(document.get(field))
                && !self.index.value(kind, field, &value)
            {
                clashes.push((Stage::Unique, field, value.into_owned()));
            }
        }
        if clashes.is_empty() && !plan.together.is_empty() {
            let together: Vec<_> =
                plan.together.iter().map(|field| unique_text(document.get(*field)).unwrap_or_default()).collect();
            if !self.index.value(kind, "@together", &together.join("\n")) {
                clashes.push((
                    Stage::Unique,
                    "the same name and scope as another",
                    together.first().map(|name| name.to_string()).unwrap_or_default(),
                ));
            }
        }
        let unique = clashes.is_empty();
        for (stage, field, value) in clashes {
            self.clash(kind, stage, field, &value, endpoint.map(|(_, name)| name), id, at);
        }
        unique
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    pub(super) fn clash(
        &mut self,
        kind: Kind,
        stage: Stage,
        field: &str,
        value: &str,
        name: Option<&str>,
        id: Uuid,
        at: &At<'_>,
    ) {
        let collection = kind.collection();
        let say = |value: &str| {
            format!("uniqueness violation: '{collection}' entity with {field} set to '{value}' already declared")
        };
        let path = at.to_path();
        let tree = match (stage, path.steps.last()) {
            (Stage::Unique, _) => {
                vec![collection.into(), Step::Key(name.map_or_else(|| id.to_string(), str::to_owned).into())]
            }
            (_, Some(&Step::Index(n))) if field != "primary key" && path.steps.len() > 2 => {
                vec![collection.into(), Step::Index(n)]
            }
            _ => self.tree(&path),
        };
        self.faults.kong(stage, &tree, say(value).into());
        let secret = kind == Kind::KeyAuthCredential && excerpt::is_secret(field);
        let message = say(if secret { "•••" } else { value });
        let place = if field == "primary key" { path.then("id") } else { path.then(field) };
        self.faults.say(place, Diagnostic::error("duplicate", "", message).help("rename it, or remove one of the two"));
    }
}

/// What may be nested in a kind under a name: nothing, a kind, or something that is not supported.
fn nested(kind: Kind, name: &str) -> &'static [Option<Kind>] {
    const UNSUPPORTED: &[Option<Kind>] = &[None, None];
    match (kind, name) {
        (Kind::Service, "routes") => &[Some(Kind::Route)],
        (Kind::Service | Kind::Route | Kind::Consumer, "plugins") => &[Some(Kind::Plugin)],
        (Kind::Consumer, "jwt_secrets") => &[Some(Kind::JwtSecret)],
        (Kind::Consumer, "keyauth_credentials") => &[Some(Kind::KeyAuthCredential)],
        (Kind::Consumer, "oauth2_credentials") => &[Some(Kind::Oauth2Credential)],
        (Kind::Oauth2Credential | Kind::Service, "oauth2_tokens") => &[Some(Kind::Oauth2Token)],
        (Kind::Upstream, "targets") => &[Some(Kind::Target)],
        (Kind::Certificate, "snis") => &[Some(Kind::Sni)],
        (
            Kind::Consumer,
            "basicauth_credentials"
            | "hmacauth_credentials"
            | "acls"
            | "groups"
            | "mtls_auth_credentials"
            | "oauth2_tokens"
            | "oauth2_authorization_codes",
        )
        | (Kind::Oauth2Credential, "oauth2_authorization_codes")
        | (Kind::Service | Kind::Route, "filter_chains" | "oauth2_tokens") => UNSUPPORTED,
        _ => &[],
    }
}

/// The field that was probably meant by an unknown one.
fn meant_field(tables: &[Option<&Table>], field: &str, name: &str) -> Option<String> {
    let around = field.rsplit_once('.').map_or("", |(around, _)| around);
    unsupported::did_you_mean(name, tables.iter().flatten().flat_map(|table| field_names(table, around)))
}

/// The names of a table's fields, or of those of a record in it.
fn field_names(table: &Table, around: &str) -> Vec<&'static str> {
    use crate::schema::Type;
    let record = if around.is_empty() {
        Some(&table.record)
    } else {
        match table.field(around).map(|def| &def.kind) {
            Some(Type::Record(record)) => Some(&**record),
            _ => None,
        }
    };
    record.map(|record| record.fields().iter().map(|field| field.name).collect()).unwrap_or_default()
}

fn names_parent(given: &Value, parent: &Parent) -> bool {
    let is = |text: &str| parent.key.as_deref() == Some(text) || Uuid::try_parse(text).is_ok_and(|id| id == parent.id);
    match given {
        Value::String(text) => is(text),
        Value::Object(map) => {
            ["id", "name", "username"].into_iter().find_map(|key| map.get(key)?.as_str()).is_some_and(is)
        }
        _ => false,
    }
}

fn id_text(id: Uuid) -> Value {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    Value::String(id.hyphenated().encode_lower(&mut text).to_owned())
}

fn id_value(id: Uuid) -> Value {
    let mut reference = Map::with_capacity(1);
    reference.insert("id".to_owned(), id_text(id));
    Value::Object(reference)
}

fn file_of(at: &At<'_>) -> usize {
    match at {
        At::Path(path) => path.file,
        At::Key(up, _) | At::Index(up, _) => file_of(up),
    }
}

/// Adds an entity whose id is known to be new; [`Dataset::put`] would look for an old one.
fn add(dataset: &mut Dataset, entity: Entity) {
    fn push<T>(list: &mut Vec<Arc<T>>, entity: Arc<T>) {
        list.push(entity);
    }
    match entity {
        Entity::Certificate(entity) => push(&mut dataset.certificates, entity),
        Entity::CaCertificate(entity) => push(&mut dataset.ca_certificates, entity),
        Entity::Service(entity) => push(&mut dataset.services, entity),
        Entity::Upstream(entity) => push(&mut dataset.upstreams, entity),
        Entity::Sni(entity) => push(&mut dataset.snis, entity),
        Entity::Route(entity) => push(&mut dataset.routes, entity),
        Entity::Target(entity) => push(&mut dataset.targets, entity),
        Entity::Plugin(entity) => push(&mut dataset.plugins, entity),
        large => dataset.put(large),
    }
}
