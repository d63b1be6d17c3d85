//! Watches that list anew where kube's own would resume.

use std::fmt::Debug;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// The events of one watch.
pub type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

/// A watch that lists again after each failure, instead of resuming where it was.
///
/// A watch that resumes asks for what comes after the last version that it saw. If etcd was restored from a backup in the
/// meantime, that version lies in the future, and the API server sends nothing until it is reached. For a watch on one
/// object, a list costs as little as resuming does.
pub fn relisting_watcher<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    relist_after_errors(move || watcher(api.clone(), config.clone()).boxed())
}

fn relist_after_errors<K: 'static>(
    mut start: impl FnMut() -> Events<K> + Send,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send {
    let events = start();
    futures::stream::unfold((events, start), |(mut events, mut start)| async move {
        let event = events.next().await?;
        if event.is_err() {
            events = start();
        }
        Some((event, (events, start)))
    })
}

/// A watch that `start` opens anew, and so lists again, whenever `restarts` says so.
pub fn restartable_watch<K: 'static>(
    mut start: impl FnMut() -> Events<K> + Send,
    restarts: impl Stream<Item = ()> + Send + Unpin,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send {
    let events = start();
    futures::stream::unfold(
        (events, start, restarts.fuse()),
        |(mut events, mut start, mut restarts)| async move {
            loop {
                tokio::select! {
                    biased;
                    Some(()) = restarts.next() => events = start(),
                    event = events.next() => return Some((event?, (events, start, restarts))),
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::stream;

    use super::*;

    /// Watches that say which of them speaks: each lists, shows one object, and then ends as `last` says.
    fn numbered(last: fn() -> Events<u32>) -> (Arc<AtomicU32>, impl FnMut() -> Events<u32> + Send) {
        let started = Arc::new(AtomicU32::new(0));
        let count = started.clone();
        let start = move || {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            stream::iter([Ok(Event::Init), Ok(Event::InitApply(number)), Ok(Event::InitDone)])
                .chain(last())
                .boxed()
        };
        (started, start)
    }

    fn shown(event: Option<watcher::Result<Event<u32>>>) -> String {
        match event.expect("the watch goes on") {
            Ok(Event::InitApply(number)) => format!("object of watch {number}"),
            Ok(event) => format!("{event:?}"),
            Err(error) => error.to_string().split(' ').next().unwrap().to_owned(),
        }
    }

    async fn next_four(events: &mut (impl Stream<Item = watcher::Result<Event<u32>>> + Unpin)) -> Vec<String> {
        let mut all = vec![];
        for _ in 0..4 {
            all.push(shown(events.next().await));
        }
        all
    }

    #[tokio::test]
    async fn a_watch_lists_again_after_a_failure() {
        let (_, start) = numbered(|| stream::iter([Err(watcher::Error::NoResourceVersion)]).boxed());
        let mut events = Box::pin(relist_after_errors(start));
        assert_eq!(
            next_four(&mut events).await,
            ["Init", "object of watch 1", "InitDone", "no"]
        );
        assert_eq!(
            next_four(&mut events).await,
            ["Init", "object of watch 2", "InitDone", "no"]
        );
    }

    #[tokio::test]
    async fn a_watch_lists_again_when_it_is_told_to() {
        let (started, start) = numbered(|| stream::pending().boxed());
        let (restart, restarts) = futures::channel::mpsc::unbounded();
        let mut events = Box::pin(restartable_watch(start, restarts));
        for _ in 0..3 {
            events.next().await.unwrap().unwrap();
        }
        assert!(futures::poll!(events.next()).is_pending());
        restart.unbounded_send(()).unwrap();
        assert_eq!(shown(events.next().await), "Init");
        assert_eq!(shown(events.next().await), "object of watch 2");
        assert_eq!(started.load(Ordering::Relaxed), 2);
    }
}
