//! Fetching a provider's document and keys: bounded calls, and what is made of partial failures.
//!
//! Runs in the background only; knows nothing of requests.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use reqwest::Url;

use super::{Keys, Metadata, Provider, Published};
use crate::auth::oidc::calls::{self, Fault};
use crate::jose::{KeySet, SetFault};

/// How long keys are kept before they are asked for again: where the provider does not say, least, and most.
const LIFETIME: Duration = Duration::from_secs(300);
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(3600);

/// What a fetch came to.
pub struct Fetched {
    pub published: Option<Published>,
    pub lifetime: Duration,
    /// The first thing that went wrong; what did not may be in `published` all the same.
    pub fault: Option<Fault>,
}

impl Provider {
    /// Fetches all there is. Where only a part of it fails, the rest of `before` stands in for it.
    pub(super) async fn fetch(&self, before: Option<&Published>) -> Fetched {
        let known = self.source.jwks.clone().or_else(|| {
            before.and_then(|before| before.metadata.jwks_uri.as_deref()).and_then(|uri| self.usable(uri).ok())
        });
        let early = async {
            match &known {
                Some(url) => Some(self.fetch_keys(url.clone(), false).await),
                None => None,
            }
        };
        let extra = futures::future::join_all(self.source.extra.iter().map(|url| self.fetch_keys(url.clone(), true)));
        let (document, early, extra) = futures::join!(self.fetch_document(), early, extra);

        let mut fault = None;
        let metadata = match document {
            Ok(metadata) => metadata,
            Err(found) => {
                fault.get_or_insert(found);
                before.map_or_else(|| Metadata::named(&self.source.name), |before| before.metadata.clone())
            }
        };
        let url = match self.keys_url(&metadata) {
            Ok(url) => url,
            Err(found) => {
                fault.get_or_insert(found);
                None
            }
        };
        let own = match (url, early) {
            (Some(url), Some(keys)) if known.as_ref() == Some(&url) => Some((url, keys)),
            (Some(url), _) => Some((url.clone(), self.fetch_keys(url, false).await)),
            (None, _) => None,
        };
        let mut lifetime = LONGEST;
        let mut keys = Vec::new();
        for (url, outcome) in own.into_iter().chain(self.source.extra.iter().cloned().zip(extra)) {
            match outcome {
                Ok((found, lives)) => {
                    lifetime = lifetime.min(lives);
                    keys.push(found);
                }
                Err(found) => {
                    fault.get_or_insert(found);
                    keys.extend(before.iter().flat_map(|before| &before.keys).find(|there| there.url == url).cloned());
                }
            }
        }
        let lost = keys.is_empty() && before.is_some_and(|before| !before.keys.is_empty());
        let confirmed = match (&fault, before) {
            (Some(_), Some(before)) => before.confirmed,
            _ => SystemTime::now(),
        };
        match fault {
            None if lost => Fetched { published: None, lifetime, fault: Some(Fault::Content("no keys")) },
            Some(_) if keys.is_empty() => Fetched { published: None, lifetime, fault },
            fault => Fetched { published: Some(Published { metadata, keys, confirmed }), lifetime, fault },
        }
    }

    /// Where the issuer's own keys are.
    fn keys_url(&self, metadata: &Metadata) -> Result<Option<Url>, Fault> {
        match (&self.source.jwks, metadata.jwks_uri.as_deref()) {
            (Some(url), _) => Ok(Some(url.clone())),
            (None, Some(uri)) => self.usable(uri).map(Some),
            (None, None) if self.source.discovery.is_some() => {
                Err(Fault::Content("the discovery document names no jwks_uri"))
            }
            (None, None) => Ok(None),
        }
    }

    /// A URL out of the discovery document, if it may be called.
    pub fn usable(&self, uri: &str) -> Result<Url, Fault> {
        let url =
            Url::parse(uri).map_err(|_| Fault::Content("the discovery document names something that is no URL"))?;
        let local = self.source.discovery.as_ref().is_none_or(calls::is_loopback);
        let permitted = match calls::is_loopback(&url) {
            // A provider elsewhere has no business with this machine's own services.
            true => local || self.source.plain,
            false => calls::permitted(&url, self.source.plain),
        };
        if permitted {
            Ok(url)
        } else {
            Err(Fault::Content("the discovery document names a URL that may not be called"))
        }
    }

    async fn fetch_document(&self) -> Result<Metadata, Fault> {
        let Some(url) = self.source.discovery.clone() else {
            return Ok(Metadata::named(&self.source.name));
        };
        let mut request = self.http.get(url).header("accept", "application/json");
        for (name, value) in &self.source.headers {
            request = request.header(name, value);
        }
        let answer = calls::call(request).await?.successful()?.json()?;
        let metadata: Metadata = serde_json::from_slice(&answer.body)
            .map_err(|_| Fault::Content("what was found is no discovery document"))?;
        if self.source.is_named(&metadata.issuer) {
            Ok(metadata)
        } else {
            Err(Fault::Content("the discovery document is another issuer's"))
        }
    }

    async fn fetch_keys(&self, url: Url, extra: bool) -> Result<(Keys, Duration), Fault> {
        let request = self.http.get(url.clone()).header("accept", "application/jwk-set+json, application/json");
        let answer = calls::call(request).await?.successful()?.json()?;
        let lifetime = lifetime(&answer.headers);
        let text = std::str::from_utf8(&answer.body).map_err(|_| Fault::Content("the key set is not UTF-8"))?;
        let keys = read_keys(url, text, extra)?;
        for rejected in &keys.set.rejected {
            tracing::debug!(issuer = self.source.issuer, index = rejected.index, "a key of the set is left out");
        }
        Ok((keys, lifetime))
    }
}

/// Reads a key set that has keys.
pub fn read_keys(url: Url, text: &str, extra: bool) -> Result<Keys, Fault> {
    let set = KeySet::parse(text.as_bytes()).map_err(|fault| match fault {
        SetFault::TooMany => Fault::Content("the key set has too many keys"),
        SetFault::NotASet => Fault::Content("what was found is no key set"),
    })?;
    if set.is_empty() {
        return Err(Fault::Content("the key set has no key that can be used"));
    }
    Ok(Keys { url, extra, set: Arc::new(set), text: text.into() })
}

/// How long an answer is good for, by its cache headers.
fn lifetime(headers: &HeaderMap) -> Duration {
    let directives = headers.get_all("cache-control").iter().filter_map(|line| line.to_str().ok());
    let mut seconds = None;
    for directive in directives.flat_map(|line| line.split(',')).map(str::trim) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.to_ascii_lowercase().as_str() {
            "no-cache" | "no-store" => return LIFETIME,
            "max-age" => seconds = value.trim_matches('"').parse::<u64>().ok(),
            _ => {}
        }
    }
    let age = headers.get("age").and_then(|age| age.to_str().ok()).and_then(|age| age.parse::<u64>().ok()).unwrap_or(0);
    let from_date = || {
        let expires = httpdate::parse_http_date(headers.get("expires")?.to_str().ok()?).ok()?;
        expires.duration_since(SystemTime::now()).ok()
    };
    let said = seconds.map(|seconds| Duration::from_secs(seconds.saturating_sub(age))).or_else(from_date);
    said.unwrap_or(LIFETIME).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_the_providers_within_limits() {
        let lives = |name: &'static str, value: &str| {
            let name = http::HeaderName::from_static(name);
            lifetime(&HeaderMap::from_iter([(name, value.parse().unwrap())])).as_secs()
        };
        assert_eq!(lives("cache-control", "public, max-age=600"), 600);
        assert_eq!(lives("cache-control", "max-age=1"), 10);
        assert_eq!(lives("cache-control", "max-age=99999999"), 3600);
        assert_eq!(lives("cache-control", "no-cache, max-age=9"), 300);
        assert_eq!(lives("cache-control", "max-age=x"), 300);
        assert_eq!(lives("expires", "0"), 300);
        assert_eq!(lifetime(&HeaderMap::new()).as_secs(), 300);
    }
}
