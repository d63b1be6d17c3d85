//! One background task for each key, started for a question. Its answers wake the reconcile loop.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Wakes the reconcile loop.
#[derive(Clone, Debug)]
pub struct WakeUp(mpsc::UnboundedSender<()>);

impl WakeUp {
    /// A sender, and the receiver on which the loop waits.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<()>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Requests a pass of the loop.
    pub fn send(&self) {
        // A loop that has ended needs no wake-up.
        let _ = self.0.send(());
    }
}

/// Where a task puts its answer.
#[derive(Clone, Debug)]
pub struct AnswerSender<A> {
    answer: watch::Sender<A>,
    wake_up: WakeUp,
}

impl<A: PartialEq> AnswerSender<A> {
    /// Replaces the answer; the loop wakes up if the new one differs.
    pub fn send(&self, answer: A) {
        let replace = |current: &mut A| {
            let differs = *current != answer;
            *current = answer;
            differs
        };
        if self.answer.send_if_modified(replace) {
            self.wake_up.send();
        }
    }
}

impl<A> AnswerSender<A> {
    /// Changes the answer in place and wakes the loop.
    pub fn modify(&self, change: impl FnOnce(&mut A)) {
        self.answer.send_modify(change);
        self.wake_up.send();
    }

    /// Requests a pass of the loop with the same answer: something is due that depends on time alone.
    pub fn wake_up(&self) {
        self.wake_up.send();
    }
}

/// A task that was started for a question, with its latest answer. The task ends when this is dropped.
#[derive(Debug)]
pub struct Task<Q, A> {
    /// What the answer belongs to; an answer to another question does not count.
    pub question: Q,
    /// When the task was started.
    pub started: Instant,
    answer: watch::Receiver<A>,
    handle: JoinHandle<()>,
}

impl<Q, A> Task<Q, A> {
    /// The latest answer. Do not keep the guard.
    pub fn answer(&self) -> watch::Ref<'_, A> {
        self.answer.borrow()
    }

    /// Whether the task runs no more; its answer stays.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

impl<Q, A> Drop for Task<Q, A> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// The tasks of one kind, by key.
#[derive(Debug)]
pub struct Supervisor<K, Q, A> {
    tasks: BTreeMap<K, Task<Q, A>>,
    wake_up: WakeUp,
}

impl<K: Ord, Q: PartialEq, A> Supervisor<K, Q, A> {
    /// No task runs yet.
    pub fn new(wake_up: WakeUp) -> Self {
        Self {
            tasks: BTreeMap::new(),
            wake_up,
        }
    }

    /// All tasks, those that have finished too.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Task<Q, A>)> {
        self.tasks.iter()
    }

    /// The task of a key.
    pub fn get<B: Ord + ?Sized>(&self, key: &B) -> Option<&Task<Q, A>>
    where
        K: std::borrow::Borrow<B>,
    {
        self.tasks.get(key)
    }

    /// Starts a task, in place of the one that the key had. `initial` is its answer until it sends one.
    pub fn start<F>(&mut self, key: K, question: Q, initial: A, run: impl FnOnce(AnswerSender<A>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, answer) = watch::channel(initial);
        let sender = AnswerSender {
            answer: sender,
            wake_up: self.wake_up.clone(),
        };
        let task = Task {
            question,
            started: Instant::now(),
            answer,
            handle: tokio::spawn(run(sender)),
        };
        self.tasks.insert(key, task);
    }

    /// Ends each task whose key is no longer asked about, or is asked another question.
    pub fn retain(&mut self, question: impl Fn(&K) -> Option<Q>) {
        self.tasks
            .retain(|key, task| question(key).as_ref() == Some(&task.question));
    }

    /// Ends each task whose key is no longer asked about, whatever its question.
    pub fn retain_keys(&mut self, is_asked: impl Fn(&K) -> bool) {
        self.tasks.retain(|key, _| is_asked(key));
    }

    /// Ends the task of a key.
    pub fn end<B: Ord + ?Sized>(&mut self, key: &B)
    where
        K: std::borrow::Borrow<B>,
    {
        self.tasks.remove(key);
    }

    /// Ends all tasks and forgets their answers.
    pub fn stop(&mut self) {
        self.tasks.clear();
    }
}
