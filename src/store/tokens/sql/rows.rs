//! Tokens and codes as rows, and the questions about them.

use std::fmt::Write as _;
use std::sync::Arc;

use uuid::Uuid;

use crate::auth::oauth2::store::{Code, Digest, Gone, Owner, Spare, Token};
use crate::store::read::parse;
use crate::store::sql::{Param, Row, Session};
use crate::store::{Error, Store};

/// What [`read`] takes.
const COLUMNS: &str = "id, access, refresh, credential, service, userid, scope, created_at, expires_in, purge_at, code";

fn bad(what: &str) -> Error {
    Error::Settings(format!("the database holds an oauth2 token whose {what} cannot be read"))
}

fn digest(text: &str) -> Result<Digest, Error> {
    Digest::from_text(text).ok_or_else(|| bad("digest"))
}

fn maybe_digest(text: Option<String>) -> Result<Option<Digest>, Error> {
    text.map(|text| digest(&text)).transpose()
}

fn maybe_id(text: Option<String>) -> Result<Option<Uuid>, Error> {
    text.map(|text| parse(&text)).transpose()
}

fn time(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| bad("time"))
}

/// A time as the database keeps it; what lies beyond it never comes.
pub fn stored(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

fn read(row: &Row) -> Result<Token, Error> {
    Ok(Token {
        id: parse(&row.text(0)?)?,
        access: digest(&row.text(1)?)?,
        refresh: maybe_digest(row.maybe_text(2)?)?,
        credential: parse(&row.text(3)?)?,
        service: maybe_id(row.maybe_text(4)?)?,
        userid: row.maybe_text(5)?.map(Into::into),
        scope: row.maybe_text(6)?.map(Into::into),
        created_at: time(row.integer(7)?)?,
        expires_in: time(row.integer(8)?)?,
        purge_at: row.maybe_integer(9)?.map(time).transpose()?,
        code: maybe_digest(row.maybe_text(10)?)?,
        gone: Gone::default(),
    })
}

fn read_all(rows: &[Row]) -> Result<Vec<Arc<Token>>, Error> {
    rows.iter().map(|row| read(row).map(Arc::new)).collect()
}

/// The token for which a condition holds.
///
/// # Errors
/// When the database cannot be reached, as for all that follow.
pub async fn one(store: &Store, condition: &str, params: &[Param<'_>]) -> Result<Option<Arc<Token>>, Error> {
    let mut session = store.read().await?;
    let rows = session.fetch(&format!("SELECT {COLUMNS} FROM oauth2_tokens WHERE {condition}"), params).await?;
    session.commit().await?;
    Ok(read_all(&rows)?.into_iter().next())
}

/// Those of these tokens that are there.
pub async fn by_access(store: &Store, wanted: &[Digest]) -> Result<Vec<Arc<Token>>, Error> {
    // Few lengths, so that the database prepares few statements.
    let length = [1, 8, 32].into_iter().find(|length| *length >= wanted.len()).unwrap_or(256.max(wanted.len()));
    let mut texts: Vec<String> = wanted.iter().map(|digest| digest.to_text()).collect();
    texts.resize(length, texts.first().cloned().unwrap_or_default());
    let params: Vec<Param<'_>> = texts.iter().map(|text| Param::Text(text)).collect();
    let mut sql = format!("SELECT {COLUMNS} FROM oauth2_tokens WHERE access IN (");
    for place in 1..=length {
        let _infallible = write!(sql, "{}${place}", if place == 1 { "" } else { ", " });
    }
    sql.push(')');
    let mut session = store.read().await?;
    let rows = session.fetch(&sql, &params).await?;
    session.commit().await?;
    read_all(&rows)
}

/// Some tokens in the order of their ids.
pub async fn page(
    store: &Store,
    of: Option<Owner>,
    after: Option<Uuid>,
    size: usize,
) -> Result<Vec<Arc<Token>>, Error> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let (condition, owner) = match of {
        None => ("", String::new()),
        Some(Owner::Credential(id)) => ("credential = $3 AND ", id.to_string()),
        Some(Owner::Service(id)) => ("service = $3 AND ", id.to_string()),
    };
    let mut params = vec![Param::Text(&after), Param::Integer(i64::try_from(size).unwrap_or(i64::MAX))];
    if of.is_some() {
        params.push(Param::Text(&owner));
    }
    let sql = format!("SELECT {COLUMNS} FROM oauth2_tokens WHERE {condition}id > $1 ORDER BY id LIMIT $2");
    let mut session = store.read().await?;
    let rows = session.fetch(&sql, &params).await?;
    session.commit().await?;
    read_all(&rows)
}

/// A code, expired or not.
pub async fn code(store: &Store, wanted: Digest) -> Result<Option<Code>, Error> {
    let mut session = store.read().await?;
    let row = session
        .fetch_one(
            "SELECT credential, service, plugin, userid, scope, challenge, expires_at FROM oauth2_codes WHERE digest = $1",
            &[Param::Text(&wanted.to_text())],
        )
        .await?;
    session.commit().await?;
    let read = |row: &Row| {
        Ok(Code {
            digest: wanted,
            credential: parse(&row.text(0)?)?,
            service: maybe_id(row.maybe_text(1)?)?,
            plugin: parse(&row.text(2)?)?,
            userid: row.maybe_text(3)?.map(Into::into),
            scope: row.maybe_text(4)?.map(Into::into),
            challenge: row.maybe_text(5)?.map(Into::into),
            expires_at: time(row.integer(6)?)?,
        })
    };
    row.as_ref().map(read).transpose()
}

/// Whether tokens of a code would end with it.
pub async fn issued_for(store: &Store, code: Digest, spare: Spare) -> Result<bool, Error> {
    let mut session = store.read().await?;
    let row = session
        .fetch_one(
            "SELECT id FROM oauth2_tokens WHERE code = $1 AND NOT (credential = $2 AND created_at >= $3) LIMIT 1",
            &[
                Param::Text(&code.to_text()),
                Param::Text(&spare.credential.to_string()),
                Param::Integer(stored(spare.since)),
            ],
        )
        .await?;
    session.commit().await?;
    Ok(row.is_some())
}

/// Writes a token down; whether nothing stood in its way.
pub async fn insert(session: &mut Session, token: &Token) -> Result<bool, Error> {
    let (access, id, credential) = (token.access.to_text(), token.id.to_string(), token.credential.to_string());
    let (refresh, code) = (token.refresh.map(Digest::to_text), token.code.map(Digest::to_text));
    let service = token.service.map(|id| id.to_string());
    let sql = format!(
        "INSERT INTO oauth2_tokens ({COLUMNS}, ends_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT DO NOTHING"
    );
    let params = [
        Param::Text(&id),
        Param::Text(&access),
        Param::MaybeText(refresh.as_deref()),
        Param::Text(&credential),
        Param::MaybeText(service.as_deref()),
        Param::MaybeText(token.userid.as_deref()),
        Param::MaybeText(token.scope.as_deref()),
        Param::Integer(stored(token.created_at)),
        Param::Integer(stored(token.expires_in)),
        Param::MaybeInteger(token.purge_at.map(stored)),
        Param::MaybeText(code.as_deref()),
        Param::MaybeInteger(token.ends_at().map(stored)),
    ];
    Ok(session.execute(&sql, &params).await? > 0)
}

/// Writes a code down.
pub async fn insert_code(session: &mut Session, code: &Code) -> Result<(), Error> {
    let service = code.service.map(|id| id.to_string());
    let params = [
        Param::Text(&code.digest.to_text()),
        Param::Text(&code.credential.to_string()),
        Param::MaybeText(service.as_deref()),
        Param::Text(&code.plugin.to_string()),
        Param::MaybeText(code.userid.as_deref()),
        Param::MaybeText(code.scope.as_deref()),
        Param::MaybeText(code.challenge.as_deref()),
        Param::Integer(stored(code.expires_at)),
    ];
    session
        .execute(
            "INSERT INTO oauth2_codes (digest, credential, service, plugin, userid, scope, challenge, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            &params,
        )
        .await?;
    Ok(())
}

/// The tokens that stand in the way of one: their ids and digests.
pub async fn beside(session: &mut Session, token: &Token) -> Result<Vec<Arc<Token>>, Error> {
    let refresh = token.refresh.map(Digest::to_text);
    let rows = session
        .fetch(
            &format!("SELECT {COLUMNS} FROM oauth2_tokens WHERE id = $1 OR access = $2 OR refresh = $3"),
            &[
                Param::Text(&token.id.to_string()),
                Param::Text(&token.access.to_text()),
                Param::MaybeText(refresh.as_deref()),
            ],
        )
        .await?;
    read_all(&rows)
}

/// Deletes tokens for which a condition holds; their digests.
pub async fn delete(session: &mut Session, condition: &str, params: &[Param<'_>]) -> Result<Vec<Digest>, Error> {
    let rows = session.fetch(&format!("DELETE FROM oauth2_tokens WHERE {condition} RETURNING access"), params).await?;
    rows.iter().map(|row| digest(&row.text(0)?)).collect()
}
