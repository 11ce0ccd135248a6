//! Whether an entity can be served, beyond what its table checks: asked before it is stored, as no gateway of the cluster could
//! serve it afterwards.

use serde_json::Value;
use uuid::Uuid;

use super::fault::Fault;
use crate::diagnostic::Diagnostic;
use crate::entity::{Dataset, Entity, Kind};
use crate::router::Router;
use crate::schema::Violations;
use crate::snapshot::Resources;
use crate::store::{self, Body, Collection, Store};
use crate::tls::Certificates;
use crate::{plugins, upstream};

/// Compiles an entity by itself.
///
/// # Errors
/// What it cannot be served for, as Kong's schema violations.
pub async fn check(store: &Store, resources: &Resources, of: &Collection, body: &Body) -> Result<(), Fault> {
    let kind = of.kind;
    if !is_compiled(kind) {
        return Ok(());
    }
    let mut body = body.clone();
    store::resolve(kind, &mut body);
    let Ok(entity) = Entity::from_document(kind, Value::Object(body)) else { return Ok(()) };
    let mut findings = Vec::new();
    match &entity {
        Entity::Plugin(plugin) => {
            // A table alone does not run.
            let Some(registered) = plugins::find(&plugin.name) else {
                let message =
                    format!("plugin '{}' not enabled; add it to the 'plugins' configuration property", plugin.name);
                return Err(Fault::field("name", message));
            };
            if let Err(faults) = registered.compile(plugin, &resources.registries, &mut Vec::new()) {
                findings = faults.into_iter().map(|fault| (in_config(&fault.path), fault)).collect();
            }
        }
        Entity::Route(route) => findings = compiled(|said| drop(Router::compile(&[&**route], said))),
        Entity::Certificate(certificate) => {
            let dataset = Dataset { certificates: vec![certificate.clone()], ..Dataset::default() };
            findings = compiled(|said| drop(Certificates::compile(&dataset, said)));
        }
        Entity::Service(service) => {
            let own = service.client_certificate.map(|certificate| certificate.id);
            let dataset = referred(store, own, service.ca_certificates.as_deref().unwrap_or_default()).await?;
            findings = compiled(|said| upstream::check_service(service, &dataset, said));
        }
        Entity::Upstream(upstream) => {
            let own = upstream.client_certificate.map(|certificate| certificate.id);
            let dataset = referred(store, own, &[]).await?;
            findings = compiled(|said| upstream::check_upstream(upstream, &dataset, said));
        }
        _ => {}
    }
    let mut violations = Violations::default();
    for (field, finding) in findings.into_iter().filter(|(_, finding)| finding.is_error()) {
        if field == ENTITY {
            let list = violations.fields.entry(ENTITY).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(finding.message.into());
            }
        } else {
            violations.put(&field, finding.message);
        }
    }
    if violations.is_empty() { Ok(()) } else { Err(Fault::schema(violations)) }
}

/// Where faults of several fields together stand.
const ENTITY: &str = "@entity";

fn is_compiled(kind: Kind) -> bool {
    matches!(kind, Kind::Plugin | Kind::Route | Kind::Certificate | Kind::Service | Kind::Upstream)
}

/// What compiling has to say, with the field it says it of.
fn compiled(compile: impl FnOnce(&mut Vec<Diagnostic>)) -> Vec<(String, Diagnostic)> {
    let mut said = Vec::new();
    compile(&mut said);
    let field = |finding: &Diagnostic| match finding.path.rsplit_once('.') {
        Some((_, field)) if Uuid::try_parse(field).is_err() => field.to_owned(),
        _ => ENTITY.to_owned(),
    };
    said.into_iter().map(|finding| (field(&finding), finding)).collect()
}

fn in_config(path: &str) -> String {
    match path.strip_prefix("config").unwrap_or(path).trim_start_matches('.') {
        "" => "config".to_owned(),
        inside => format!("config.{inside}"),
    }
}

/// The certificates that a service or an upstream refers to. The database says if one that must be there is not.
async fn referred(store: &Store, certificate: Option<Uuid>, authorities: &[Uuid]) -> Result<Dataset, Fault> {
    let mut dataset = Dataset::default();
    let wanted = certificate.iter().map(|id| (Kind::Certificate, id));
    for (kind, id) in wanted.chain(authorities.iter().map(|id| (Kind::CaCertificate, id))) {
        let Some(mut row) = store.get(kind.collection(), *id).await? else { continue };
        store::resolve(kind, &mut row.body);
        if let Ok(entity) = Entity::from_document(kind, Value::Object(row.body)) {
            dataset.put(entity);
        }
    }
    Ok(dataset)
}
