//! Unknown tokens, asked for: one question at a time for all that wait, and each token in it once.
//!
//! A flood of made-up tokens makes the questions longer, not more of them; it takes one connection.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Answer, Shared, in_time, rows};
use crate::auth::oauth2::store::{Digest, Token};

/// Tokens in one question.
const MOST: usize = 256;

type Waiting = HashMap<Digest, Vec<Answer<Option<Arc<Token>>>>>;

pub async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<(Digest, Answer<Option<Arc<Token>>>)>) {
    let mut waiting = Waiting::new();
    loop {
        if waiting.is_empty() {
            let Some((digest, answer)) = queue.recv().await else { return };
            waiting.entry(digest).or_default().push(answer);
        }
        while waiting.len() < MOST
            && let Ok((digest, answer)) = queue.try_recv()
        {
            waiting.entry(digest).or_default().push(answer);
        }
        waiting = ask(&shared, waiting).await;
    }
}

/// Answers those that can be; the others are to be asked for again.
async fn ask(shared: &Shared, mut waiting: Waiting) -> Waiting {
    let digests: Vec<Digest> = waiting.keys().copied().collect();
    let asked = shared.known.asking();
    let tokens = match in_time(rows::by_access(&shared.store, &digests)).await {
        Ok(tokens) => tokens,
        Err(fault) => {
            for answer in waiting.into_values().flatten() {
                let _gone = answer.send(Err(fault.clone()));
            }
            return Waiting::new();
        }
    };
    let again = shared.known.found(tokens.clone(), asked);
    let mut late = Waiting::new();
    for digest in again {
        late.extend(waiting.remove_entry(&digest));
    }
    for token in tokens {
        for answer in waiting.remove(&token.access).into_iter().flatten() {
            let _gone = answer.send(Ok(Some(token.clone())));
        }
    }
    for (digest, answers) in waiting {
        shared.known.missed(digest, asked);
        for answer in answers {
            let _gone = answer.send(Ok(None));
        }
    }
    late
}
