//! Names and their answers.
//!
//! Owns one [`Name`] per host name in use, its last answer and when it is due again. Resolution itself blocks a thread and is
//! done by the background task, or by [`super::Registry::settle`] while a configuration loads. Must not know what is done with
//! an answer.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use super::balancer::Balancer;
use super::{Families, Options};

/// How names become addresses.
pub trait Resolve: Send + Sync {
    /// All addresses of a name. May block.
    ///
    /// # Errors
    /// When the name does not exist or no server answered; the two are not told apart.
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver: hosts file, search domains and servers as every other program has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not resolved yet.
    Pending,
    /// Sorted, without duplicates, never empty.
    Found(Arc<[IpAddr]>),
    /// Does not resolve, and has not for longer than a stale answer is used.
    Failed,
}

/// A host name in use.
#[derive(Debug)]
pub(super) struct Name {
    pub host: Box<str>,
    state: Mutex<State>,
    /// Who is to be told of another answer.
    users: Mutex<Vec<Weak<Balancer>>>,
}

#[derive(Debug)]
struct State {
    answer: Answer,
    /// When it was last resolved with success.
    good: Option<Instant>,
    due: Instant,
    /// Failures in a row.
    failures: u32,
    /// A thread is resolving it now.
    busy: bool,
}

impl Name {
    pub fn new(host: &str, now: Instant) -> Self {
        let state = State { answer: Answer::Pending, good: None, due: now, failures: 0, busy: false };
        Self { host: host.into(), state: Mutex::new(state), users: Mutex::default() }
    }

    pub fn answer(&self) -> Answer {
        self.state.lock().answer.clone()
    }

    /// When it is to be resolved next; `None` while that is being done.
    pub fn due(&self) -> Option<Instant> {
        let state = self.state.lock();
        (!state.busy).then_some(state.due)
    }

    /// Takes the name for resolution if it is due; whoever got `true` calls [`Name::answered`].
    pub fn take_if_due(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let take = !state.busy && state.due <= now;
        state.busy |= take;
        take
    }

    /// Adds one to be told.
    pub fn add_user(&self, user: &Arc<Balancer>) {
        let mut users = self.users.lock();
        // Now and then, so that a name which ever more snapshots use costs the same for each.
        if users.len().is_power_of_two() {
            users.retain(|user| user.strong_count() > 0);
        }
        users.push(Arc::downgrade(user));
    }

    pub fn users(&self) -> Vec<Arc<Balancer>> {
        self.users.lock().iter().filter_map(Weak::upgrade).collect()
    }

    pub fn is_pending(&self) -> bool {
        self.state.lock().answer == Answer::Pending
    }

    /// Takes in a result; `true` when the answer is now another one.
    pub fn answered(&self, result: io::Result<Vec<IpAddr>>, now: Instant, options: &Options) -> bool {
        let found = result.and_then(|addresses| {
            let addresses = usable(addresses, options.dns_order);
            if addresses.is_empty() { Err(io::Error::other("the answer holds no address")) } else { Ok(addresses) }
        });
        let mut state = self.state.lock();
        state.busy = false;
        let answer = match found {
            Ok(addresses) => {
                if state.failures > 0 {
                    tracing::info!(host = %self.host, failures = state.failures, "name resolves again");
                }
                state.failures = 0;
                state.good = Some(now);
                state.due = now + options.dns_interval;
                Answer::Found(addresses.into())
            }
            Err(error) => {
                let wait = options.dns_retry.saturating_mul(1 << state.failures.min(16));
                state.due = now + wait.min(options.dns_interval);
                let usable = state.good.is_some_and(|good| now.duration_since(good) < options.dns_stale);
                if state.failures == 0 {
                    tracing::warn!(host = %self.host, %error, stale_answer_kept = usable, "name does not resolve");
                }
                state.failures = state.failures.saturating_add(1);
                if usable { state.answer.clone() } else { Answer::Failed }
            }
        };
        let changed = answer != state.answer;
        state.answer = answer;
        changed
    }
}

/// Those of the wanted kind. Sorted, as servers rotate their answers.
fn usable(mut addresses: Vec<IpAddr>, order: Families) -> Vec<IpAddr> {
    let (v4, v6) = (addresses.iter().any(IpAddr::is_ipv4), addresses.iter().any(IpAddr::is_ipv6));
    let ipv4 = match order {
        Families::Ipv4 => true,
        Families::Ipv6 => false,
        Families::Ipv4First => v4,
        Families::Ipv6First => !v6,
    };
    addresses.retain(|address| address.is_ipv4() == ipv4);
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn found(list: &[&str]) -> Answer {
        Answer::Found(list.iter().map(|text| ip(text)).collect())
    }

    fn failure() -> io::Result<Vec<IpAddr>> {
        Err(io::Error::other("no"))
    }

    #[test]
    fn answers_are_sorted_and_prefer_ipv4() {
        let (options, now) = (Options::default(), Instant::now());
        let name = Name::new("a", now);
        assert!(name.answered(Ok(vec![ip("::1"), ip("10.0.0.2"), ip("10.0.0.1"), ip("10.0.0.2")]), now, &options));
        assert_eq!(name.answer(), found(&["10.0.0.1", "10.0.0.2"]));
        assert!(!name.answered(Ok(vec![ip("10.0.0.2"), ip("10.0.0.1")]), now, &options), "rotated is not another");
        assert!(name.answered(Ok(vec![ip("::1")]), now, &options));
        assert_eq!(name.answer(), found(&["::1"]));
    }

    #[test]
    fn the_order_of_kinds_is_kept() {
        let (both, v6) = (vec![ip("::1"), ip("10.0.0.1")], vec![ip("::1")]);
        for (order, of_both, of_v6) in [
            (Families::Ipv4First, vec![ip("10.0.0.1")], v6.clone()),
            (Families::Ipv6First, v6.clone(), v6.clone()),
            (Families::Ipv4, vec![ip("10.0.0.1")], vec![]),
            (Families::Ipv6, v6.clone(), v6.clone()),
        ] {
            assert_eq!((usable(both.clone(), order), usable(v6.clone(), order)), (of_both, of_v6), "{order:?}");
        }
    }

    #[test]
    fn a_failure_keeps_the_last_answer_for_a_while() {
        let (options, now) = (Options::default(), Instant::now());
        let name = Name::new("a", now);
        assert!(name.answered(failure(), now, &options), "pending becomes failed");
        assert_eq!(name.answer(), Answer::Failed);
        assert_eq!(name.due(), Some(now + Duration::from_secs(1)));
        assert!(name.answered(Ok(vec![ip("10.0.0.1")]), now, &options));
        for later in [1, 60, 3599] {
            assert!(!name.answered(failure(), now + Duration::from_secs(later), &options));
            assert_eq!(name.answer(), found(&["10.0.0.1"]));
        }
        assert!(name.answered(Ok(Vec::new()), now + Duration::from_secs(3600), &options), "stale for too long");
        assert_eq!(name.answer(), Answer::Failed);
        assert_eq!(name.due(), Some(now + Duration::from_secs(3608)), "the fourth failure waits for eight seconds");
    }

    #[test]
    fn one_resolution_at_a_time() {
        let now = Instant::now();
        let name = Name::new("a", now);
        assert!(name.take_if_due(now));
        assert!(!name.take_if_due(now));
        assert_eq!(name.due(), None);
        name.answered(failure(), now, &Options::default());
        assert!(!name.take_if_due(now));
        assert!(name.take_if_due(now + Duration::from_secs(1)));
    }
}
