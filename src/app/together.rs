//! Many questions to the store at the same time, where one after the other would wait for each answer.

use super::{error::AppError, ports::StoreError};
use std::{collections::BTreeMap, future::Future};
use tokio::task::JoinSet;

/// Questions that are on their way at the same time, at most.
const AT_ONCE: usize = 64;

/// The answers to all questions, in their order.
///
/// # Errors
/// When one of them is not answered; the others are given up.
pub(super) async fn together<A, Q>(questions: impl IntoIterator<Item = Q>) -> Result<Vec<A>, AppError>
where
    A: Send + 'static,
    Q: Future<Output = Result<A, StoreError>> + Send + 'static,
{
    let mut waiting = questions.into_iter().enumerate();
    let mut asked = JoinSet::new();
    let mut answers = BTreeMap::new();
    loop {
        while asked.len() < AT_ONCE
            && let Some((at, question)) = waiting.next()
        {
            asked.spawn(async move { (at, question.await) });
        }
        match asked.join_next().await {
            None => return Ok(answers.into_values().collect()),
            Some(Ok((at, answer))) => drop(answers.insert(at, answer?)),
            Some(Err(_)) => return Err(AppError::Bug("a question to the store was not asked to its end")),
        }
    }
}
