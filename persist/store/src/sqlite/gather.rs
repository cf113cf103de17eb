//! Questions of many callers, put to the database together.
//!
//! ```text
//!  ask ──► waiting ──► the leader's next round ──► one statement ──► answers, each to its caller
//! ```
//!
//! A statement costs the way to the connection's thread and back; when all devices come back at once, that is most of
//! what they cost. Whoever asks while nobody does makes a task the leader; what is asked while that one waits for the
//! database is its next round. A single question goes out at once.
//!
//! What a question is answered by was read after it was asked. A caller that gives up takes no one else's answer along.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::limits::GATHERED_MAX;
use crate::ports::StoreError;

/// Where the answer to a question goes.
type Reply<A> = oneshot::Sender<Result<A, StoreError>>;

#[derive(Debug)]
struct Waiting<Q, A> {
    questions: Vec<(Q, Reply<A>)>,
    /// There is a leader.
    led: bool,
}

/// Questions of one kind; see the module's head.
#[derive(Debug)]
pub(super) struct Gather<Q, A> {
    waiting: Mutex<Waiting<Q, A>>,
}

impl<Q, A> Default for Gather<Q, A> {
    fn default() -> Self {
        Self { waiting: Mutex::new(Waiting { questions: Vec::new(), led: false }) }
    }
}

/// The task that asks; when it ends before its time, others may lead, and nobody waits for it.
struct Leader<Q, A> {
    gather: Arc<Gather<Q, A>>,
    done: bool,
}

impl<Q, A> Drop for Leader<Q, A> {
    fn drop(&mut self) {
        if !self.done {
            let mut waiting = self.gather.lock();
            waiting.led = false;
            waiting.questions.clear();
        }
    }
}

impl<Q, A> Leader<Q, A> {
    /// The questions of the next round; none when the leader is done.
    fn next(&mut self) -> Option<(Vec<Q>, Vec<Reply<A>>)> {
        let mut waiting = self.gather.lock();
        if waiting.questions.is_empty() {
            waiting.led = false;
            self.done = true;
            return None;
        }
        let count = waiting.questions.len().min(GATHERED_MAX);
        Some(waiting.questions.drain(..count).unzip())
    }
}

impl<Q: Send + 'static, A: Send + 'static> Gather<Q, A> {
    /// The answer to a question. `together` answers several with the database, in their order.
    ///
    /// # Errors
    /// What the round's statement failed with; all of its questions share that.
    pub(super) async fn ask<D, T, F>(self: &Arc<Self>, database: &D, question: Q, together: T) -> Result<A, StoreError>
    where
        D: Clone + Send + Sync + 'static,
        T: Fn(D, Vec<Q>) -> F + Send + 'static,
        F: Future<Output = Result<Vec<A>, StoreError>> + Send,
    {
        let (reply, answer) = oneshot::channel();
        let leads = {
            let mut waiting = self.lock();
            waiting.questions.push((question, reply));
            !std::mem::replace(&mut waiting.led, true)
        };
        if leads {
            let (mut leader, database) = (Leader { gather: Arc::clone(self), done: false }, database.clone());
            tokio::spawn(async move {
                while let Some((questions, replies)) = leader.next() {
                    tell(replies, together(database.clone(), questions).await);
                }
            });
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::new("sqlite", "the question was dropped")))
    }
}

impl<Q, A> Gather<Q, A> {
    fn lock(&self) -> MutexGuard<'_, Waiting<Q, A>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever asked may be gone: then nobody is told.
fn tell<A>(replies: Vec<Reply<A>>, answers: Result<Vec<A>, StoreError>) {
    match answers {
        Ok(answers) => {
            for (reply, answer) in replies.into_iter().zip(answers) {
                let _ = reply.send(Ok(answer));
            }
        }
        Err(error) => {
            for reply in replies {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn what_is_asked_meanwhile_is_one_round_and_everybody_gets_the_own_answer() {
        let (gather, gate, rounds) =
            (Arc::new(Gather::default()), Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let ask = |question: u64| {
            let (gather, gate, rounds) = (Arc::clone(&gather), Arc::clone(&gate), Arc::clone(&rounds));
            let together = move |(), questions: Vec<u64>| {
                rounds.lock().unwrap().push(questions.len());
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.unwrap().forget();
                    Ok(questions.into_iter().map(|question| question * 2).collect())
                }
            };
            tokio::spawn(async move { gather.ask(&(), question, together).await.unwrap() })
        };
        let first = ask(1);
        while rounds.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (2..=5).map(ask).collect();
        // One that gives up is asked for all the same.
        others[3].abort();
        while gather.lock().questions.len() < 3 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), 2);
        for (other, question) in others.into_iter().zip(2..=4) {
            assert_eq!(other.await.unwrap(), question * 2);
        }
        assert_eq!(rounds.lock().unwrap().len(), 2);
        gate.add_permits(1);
        assert_eq!(ask(6).await.unwrap(), 12, "a new leader");
    }

    #[tokio::test]
    async fn a_failed_round_fails_its_questions_and_no_others() {
        let gather: Arc<Gather<u64, u64>> = Arc::default();
        let failing = |(), _| async { Err(StoreError::new("sqlite", "away")) };
        assert_eq!(gather.ask(&(), 1, failing).await.unwrap_err().message, "away");
        assert_eq!(gather.ask(&(), 2, |(), questions| async { Ok(questions) }).await.unwrap(), 2);
        // A leader that ends early keeps nobody waiting.
        let panicking = |(), _: Vec<u64>| async { panic!("planted") };
        assert_eq!(gather.ask(&(), 3, panicking).await.unwrap_err().message, "the question was dropped");
        assert_eq!(gather.ask(&(), 4, |(), questions| async { Ok(questions) }).await.unwrap(), 4);
    }
}
