//! What becomes of header fields on the way through: as a request makes it necessary, and as it is kept for the next one with the
//! same token.

use std::sync::Arc;

use arrayvec::ArrayVec;
use http::{HeaderName, HeaderValue};

/// What is to become of header fields.
#[derive(Clone, Debug, Default)]
pub struct HeaderChanges {
    /// Headers of the request that are removed, before any is set.
    pub remove: Vec<HeaderName>,
    /// Headers of the request that are set towards the service.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Headers added to the response.
    pub response: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderChanges {
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.response.is_empty()
    }
}

/// [`HeaderChanges`] in one piece of memory: most of the time that a token takes which is one of thousands is waiting for memory.
#[derive(Clone, Debug)]
pub struct KeptChanges(Arc<[Kept]>);

#[derive(Debug)]
enum Kept {
    Remove(HeaderName),
    Set(HeaderName, KeptValue),
    Response(HeaderName, KeptValue),
}

/// Longest value that is kept in place, in bytes: a UUID, and what makes this no larger than the other kind.
const SHORT: usize = 38;

/// A field's value. Copying a short one takes less than counting who shares it, which is elsewhere.
#[derive(Debug)]
pub enum KeptValue {
    Short(ArrayVec<u8, SHORT>),
    Long(HeaderValue),
}

impl KeptValue {
    pub fn of(value: &HeaderValue) -> Self {
        match value.as_bytes().try_into() {
            Ok(short) if !value.is_sensitive() => Self::Short(short),
            _ => Self::Long(value.clone()),
        }
    }

    pub fn get(&self) -> HeaderValue {
        match self {
            // They were a value's bytes: there is no other way to get here.
            Self::Short(bytes) => HeaderValue::from_bytes(bytes).unwrap_or(HeaderValue::from_static("")),
            Self::Long(value) => value.clone(),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Long(value) => value.as_bytes(),
        }
    }
}

impl KeptChanges {
    /// `None` where there are none.
    pub fn of(changes: &HeaderChanges) -> Option<Self> {
        let remove = changes.remove.iter().map(|name| Kept::Remove(name.clone()));
        let set = changes.set.iter().map(|(name, value)| Kept::Set(name.clone(), KeptValue::of(value)));
        let response = changes.response.iter().map(|(name, value)| Kept::Response(name.clone(), KeptValue::of(value)));
        (!changes.is_empty()).then(|| Self(remove.chain(set).chain(response).collect()))
    }

    pub fn removed(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().filter_map(|kept| match kept {
            Kept::Remove(name) => Some(name),
            _ => None,
        })
    }

    pub fn set(&self) -> impl Iterator<Item = (&HeaderName, HeaderValue)> {
        self.0.iter().filter_map(|kept| match kept {
            Kept::Set(name, value) => Some((name, value.get())),
            _ => None,
        })
    }

    pub fn response(&self) -> impl Iterator<Item = (&HeaderName, HeaderValue)> {
        self.0.iter().filter_map(|kept| match kept {
            Kept::Response(name, value) => Some((name, value.get())),
            _ => None,
        })
    }

    /// In memory, about.
    pub fn bytes(&self) -> usize {
        /// Of a value that is elsewhere, and of what counts who shares it.
        const LONG: usize = 64;
        let each = |kept: &Kept| match kept {
            Kept::Remove(_) => 0,
            Kept::Set(_, value) | Kept::Response(_, value) => match value {
                KeptValue::Short(_) => 0,
                KeptValue::Long(value) => LONG + value.len(),
            },
        };
        size_of_val(&*self.0) + self.0.iter().map(each).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use http::header::{AUTHORIZATION, COOKIE};

    use super::*;

    #[test]
    fn what_is_kept_is_what_was_wanted() {
        assert!(KeptChanges::of(&HeaderChanges::default()).is_none());
        let mut secret = HeaderValue::from_static("s");
        secret.set_sensitive(true);
        let name = HeaderName::from_static("x-user");
        let values = [
            HeaderValue::from_static(""),
            HeaderValue::from_bytes(&[0xc3, 0xa9, b'\t', 0xff]).unwrap(),
            HeaderValue::from_str(&"v".repeat(SHORT)).unwrap(),
            HeaderValue::from_str(&"v".repeat(SHORT + 1)).unwrap(),
            secret,
        ];
        for value in values {
            let fields = vec![(name.clone(), value.clone()), (AUTHORIZATION, value.clone())];
            let changes = HeaderChanges { remove: vec![COOKIE, name.clone()], set: fields.clone(), response: fields };
            let kept = KeptChanges::of(&changes).unwrap();
            let owned = |(name, value): (&HeaderName, HeaderValue)| (name.clone(), value);
            assert_eq!(kept.removed().cloned().collect::<Vec<_>>(), changes.remove);
            assert_eq!(kept.set().map(owned).collect::<Vec<_>>(), changes.set);
            assert_eq!(kept.response().map(owned).collect::<Vec<_>>(), changes.response);
            assert!(kept.set().all(|(_, found)| found.is_sensitive() == value.is_sensitive()));
        }
    }

    #[test]
    fn a_short_value_takes_no_more_than_a_long_one() {
        assert!(size_of::<KeptValue>() <= size_of::<HeaderValue>() + 8);
    }
}
