//! The collections: how the documents of each kind are called, told apart, and tied together.
//!
//! One table for the database (unique values, references), the Admin API (paths, endpoint keys) and import and export. What the
//! fields of a document may hold stands in the schema tables, not here.

use std::borrow::Cow;

use serde_json::Value;
use uuid::Uuid;

use super::Body;
use crate::entity::Kind;

/// What happens to a document when the one it refers to is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// It is deleted as well.
    Cascade,
    /// The delete is refused.
    Restrict,
}

/// A field that refers to another document.
#[derive(Debug)]
pub struct Foreign {
    pub field: &'static str,
    /// Name of the collection referred to.
    pub to: &'static str,
    pub on_delete: OnDelete,
}

/// A kind of document.
#[derive(Debug)]
pub struct Collection {
    /// Kong's name: in declarative files, messages and the database.
    pub name: &'static str,
    /// The first segment of its Admin API path.
    pub path: &'static str,
    /// Its segment below a parent, where that differs.
    pub nested: &'static str,
    /// The unique field that may stand in a path instead of the id.
    pub endpoint_key: Option<&'static str>,
    /// Fields whose values only one document may have.
    pub unique: &'static [&'static str],
    /// Fields whose combination only one document may have.
    pub cache_key: &'static [&'static str],
    pub foreign: &'static [Foreign],
    /// Whether documents may carry a `ttl` and end by themselves.
    pub ttl: bool,
    /// The typed entity.
    pub kind: Kind,
}

const fn cascade(field: &'static str, to: &'static str) -> Foreign {
    Foreign { field, to, on_delete: OnDelete::Cascade }
}

const fn restrict(field: &'static str, to: &'static str) -> Foreign {
    Foreign { field, to, on_delete: OnDelete::Restrict }
}

const PLAIN: Collection = Collection {
    name: "",
    path: "",
    nested: "",
    endpoint_key: None,
    unique: &[],
    cache_key: &[],
    foreign: &[],
    ttl: false,
    kind: Kind::Plugin,
};

/// Every collection; what is referred to comes first.
pub static COLLECTIONS: [Collection; 13] = [
    Collection { name: "certificates", path: "certificates", nested: "certificates", kind: Kind::Certificate, ..PLAIN },
    Collection {
        name: "ca_certificates",
        path: "ca_certificates",
        nested: "ca_certificates",
        unique: &["cert_digest"],
        kind: Kind::CaCertificate,
        ..PLAIN
    },
    Collection {
        name: "consumers",
        path: "consumers",
        nested: "consumers",
        endpoint_key: Some("username"),
        unique: &["username", "custom_id"],
        kind: Kind::Consumer,
        ..PLAIN
    },
    Collection {
        name: "services",
        path: "services",
        nested: "services",
        endpoint_key: Some("name"),
        unique: &["name"],
        foreign: &[restrict("client_certificate", "certificates")],
        kind: Kind::Service,
        ..PLAIN
    },
    Collection {
        name: "upstreams",
        path: "upstreams",
        nested: "upstreams",
        endpoint_key: Some("name"),
        unique: &["name"],
        foreign: &[restrict("client_certificate", "certificates")],
        kind: Kind::Upstream,
        ..PLAIN
    },
    Collection {
        name: "snis",
        path: "snis",
        nested: "snis",
        endpoint_key: Some("name"),
        unique: &["name"],
        foreign: &[cascade("certificate", "certificates")],
        kind: Kind::Sni,
        ..PLAIN
    },
    Collection {
        name: "routes",
        path: "routes",
        nested: "routes",
        endpoint_key: Some("name"),
        unique: &["name"],
        foreign: &[restrict("service", "services")],
        kind: Kind::Route,
        ..PLAIN
    },
    Collection {
        name: "targets",
        path: "targets",
        nested: "targets",
        endpoint_key: Some("target"),
        cache_key: &["upstream", "target"],
        foreign: &[cascade("upstream", "upstreams")],
        kind: Kind::Target,
        ..PLAIN
    },
    Collection {
        name: "jwt_secrets",
        path: "jwts",
        nested: "jwt",
        endpoint_key: Some("key"),
        unique: &["key"],
        foreign: &[cascade("consumer", "consumers")],
        kind: Kind::JwtSecret,
        ..PLAIN
    },
    Collection {
        name: "keyauth_credentials",
        path: "key-auths",
        nested: "key-auth",
        endpoint_key: Some("key"),
        unique: &["key"],
        foreign: &[cascade("consumer", "consumers")],
        ttl: true,
        kind: Kind::KeyAuthCredential,
        ..PLAIN
    },
    Collection {
        name: "oauth2_credentials",
        path: "oauth2",
        nested: "oauth2",
        endpoint_key: Some("client_id"),
        unique: &["client_id"],
        foreign: &[cascade("consumer", "consumers")],
        kind: Kind::Oauth2Credential,
        ..PLAIN
    },
    Collection {
        name: "oauth2_tokens",
        path: "oauth2_tokens",
        nested: "oauth2_tokens",
        endpoint_key: Some("access_token"),
        unique: &["access_token", "refresh_token"],
        foreign: &[cascade("credential", "oauth2_credentials"), cascade("service", "services")],
        ttl: true,
        kind: Kind::Oauth2Token,
        ..PLAIN
    },
    Collection {
        name: "plugins",
        path: "plugins",
        nested: "plugins",
        endpoint_key: Some("instance_name"),
        unique: &["instance_name"],
        cache_key: &["name", "route", "service", "consumer"],
        foreign: &[cascade("route", "routes"), cascade("service", "services"), cascade("consumer", "consumers")],
        kind: Kind::Plugin,
        ..PLAIN
    },
];

impl Collection {
    /// The collection of a name (`jwt_secrets`).
    pub fn find(name: &str) -> Option<&'static Self> {
        COLLECTIONS.iter().find(|collection| collection.name == name)
    }

    /// The field that refers to another collection.
    pub fn foreign(&self, field: &str) -> Option<&Foreign> {
        self.foreign.iter().find(|foreign| foreign.field == field)
    }
}

/// A value that only one document of a collection may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Unique {
    /// The field, or `cache_key` for a combination.
    pub name: &'static str,
    pub value: String,
    /// The fields with their values, for the message.
    pub fields: Body,
}

/// A document that another refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub field: &'static str,
    pub parent: &'static str,
    pub id: Uuid,
    /// Whether the parent cannot be deleted before this document.
    pub restricts: bool,
}

/// A validated document with what the database has to know of it.
#[derive(Clone, Debug)]
pub struct Document {
    pub collection: &'static str,
    pub id: Uuid,
    pub body: Body,
    pub uniques: Vec<Unique>,
    pub references: Vec<Reference>,
    pub tags: Vec<String>,
    /// Milliseconds since 1970.
    pub expires_at: Option<i64>,
}

impl Document {
    /// Spells out what a complete document says. `None` when it has no id.
    pub fn new(collection: &'static Collection, body: Body, expires_at: Option<i64>) -> Option<Self> {
        let id = id_of(body.get("id"))?;
        let mut uniques = Vec::new();
        for name in collection.unique {
            if let Some(Value::String(value)) = body.get(*name) {
                let fields = [((*name).to_owned(), Value::from(value.as_str()))].into_iter().collect();
                uniques.push(Unique { name, value: value.clone(), fields });
            }
        }
        if !collection.cache_key.is_empty() {
            uniques.push(cache_key(collection, &body));
        }
        let references = collection
            .foreign
            .iter()
            .filter_map(|foreign| {
                Some(Reference {
                    field: foreign.field,
                    parent: foreign.to,
                    id: id_of(body.get(foreign.field)?.get("id"))?,
                    restricts: foreign.on_delete == OnDelete::Restrict,
                })
            })
            .collect();
        let tags = body.get("tags").and_then(Value::as_array).into_iter().flatten();
        let tags = tags.filter_map(|tag| tag.as_str().map(str::to_owned)).collect();
        Some(Self { collection: collection.name, id, body, uniques, references, tags, expires_at })
    }
}

/// The combination of fields that tells a document apart, as one value.
fn cache_key(collection: &'static Collection, body: &Body) -> Unique {
    let mut value = String::new();
    let mut fields = Body::new();
    for field in collection.cache_key {
        let part = body.get(*field).cloned().unwrap_or_default();
        match part.get("id").and_then(Value::as_str).or(part.as_str()) {
            Some(text) => value.push_str(text),
            None => value.push('-'),
        }
        value.push(':');
        fields.insert((*field).to_owned(), part);
    }
    Unique { name: "cache_key", value, fields }
}

/// The cache key of fields that are given as text, e.g. an upstream's id and a target.
pub fn cache_key_of(parts: &[&str]) -> String {
    parts.iter().fold(String::new(), |whole, part| whole + part + ":")
}

fn id_of(value: Option<&Value>) -> Option<Uuid> {
    Uuid::try_parse(value?.as_str()?).ok()
}

/// A value as it stands in the index: itself, or its digest where it is too long for one or holds what PostgreSQL's text cannot.
pub(super) fn indexed(value: &str) -> Cow<'_, str> {
    const LONGEST: usize = 500;
    if value.len() <= LONGEST && !value.contains('\0') {
        return Cow::Borrowed(value);
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, value.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Cow::Owned(format!("sha256:{hex}"))
}
