//! Objects that can be decoded or not: one that cannot does not hide the others of its kind.
//!
//! A schema accepts more than a typed field does, and one object that is not decoded makes kube's list or watch of its
//! whole kind fail. As a rule every object is decoded directly into its type. Once an object of a kind could not be
//! decoded, [`GuardedApi`] decodes each object of the kind on its own, which costs a detour over a JSON tree.

use std::borrow::Cow;
use std::fmt::Debug;

use futures::future::ready;
use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{ListParams, ObjectList, ObjectMeta};
use kube::core::Status;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use lockkeeper_text::bounded;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::error::Category;

/// The longest cause; the value that is wrong is a part of it, and whoever wrote it chose its length.
const MAX_CAUSE: usize = 512;

/// An object, or what is known of one that cannot be decoded.
#[derive(Clone, Debug)]
pub struct Guarded<K, R = ()>(pub Result<K, Undecodable<R>>);

/// An object that cannot be decoded: its definition is of another version, or was bypassed, or accepts too much.
#[derive(Clone, Debug, PartialEq)]
pub struct Undecodable<R = ()> {
    /// Its metadata, without managed fields.
    pub metadata: ObjectMeta,
    /// Which field, and what is wrong with it, in one line.
    pub cause: String,
    /// What else of it can be read.
    pub rest: R,
}

/// What can be read of an object that cannot be decoded.
pub trait Rest {
    /// Reads it; what cannot be read is left out.
    fn of(object: &Value) -> Self;
}

impl Rest for () {
    fn of(_: &Value) {}
}

impl<K, R> Guarded<K, R> {
    fn of_event(event: Event<K>) -> Event<Self> {
        let decoded = |object| Self(Ok(object));
        match event {
            Event::Apply(object) => Event::Apply(decoded(object)),
            Event::Delete(object) => Event::Delete(decoded(object)),
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(decoded(object)),
            Event::InitDone => Event::InitDone,
        }
    }
}

impl<'de, K: DeserializeOwned, R: Rest> Deserialize<'de> for Guarded<K, R> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(from)?;
        let decoded = serde_path_to_error::deserialize::<_, K>(&object);
        Ok(Self(decoded.map_err(|error| Undecodable {
            metadata: metadata(&object),
            cause: cause(&error),
            rest: R::of(&object),
        })))
    }
}

fn cause(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let field = error.path().to_string();
    let cause = if field == "." {
        error.inner().to_string()
    } else {
        format!("{field}: {}", error.inner())
    };
    bounded(&cause, MAX_CAUSE)
}

/// The metadata; only what identifies the object if the rest of it cannot be decoded.
fn metadata(object: &Value) -> ObjectMeta {
    let Some(value) = object.get("metadata") else {
        return ObjectMeta::default();
    };
    let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let identity = || ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        ..ObjectMeta::default()
    };
    ObjectMeta {
        managed_fields: None,
        ..ObjectMeta::deserialize(value).unwrap_or_else(|_| identity())
    }
}

impl<K: Resource, R> Resource for Guarded<K, R> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }
    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }
    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }
    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }
    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(undecodable) => &undecodable.metadata,
        }
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(undecodable) => &mut undecodable.metadata,
        }
    }
}

/// Lists and watches objects of a kind, each decoded on its own if it must be.
#[derive(Clone, Debug)]
pub struct GuardedApi<K, R = ()> {
    typed: Api<K>,
    guarded: Api<Guarded<K, R>>,
}

impl<K, R> GuardedApi<K, R>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    R: Rest + Clone + Debug + Send + 'static,
{
    /// The objects of all namespaces, or of the cluster.
    pub fn all(client: Client) -> Self {
        Self {
            typed: Api::all(client.clone()),
            guarded: Api::all(client),
        }
    }

    /// The objects of one namespace.
    pub fn namespaced(client: Client, namespace: &str) -> Self
    where
        K: Resource<Scope = NamespaceResourceScope>,
    {
        Self {
            typed: Api::namespaced(client.clone(), namespace),
            guarded: Api::namespaced(client, namespace),
        }
    }

    /// Watches the objects. The first one that cannot be decoded makes the watch list the kind again.
    pub fn watch(self, config: watcher::Config) -> impl Stream<Item = watcher::Result<Event<Guarded<K, R>>>> + Send {
        let typed = watcher(self.typed, config.clone()).map_ok(Guarded::of_event);
        let typed = typed.take_while(|event| ready(!event.as_ref().is_err_and(fails_to_decode)));
        typed.chain(watcher(self.guarded, config))
    }

    /// Lists the objects, or one page of them.
    pub async fn list(&self, params: &ListParams) -> kube::Result<ObjectList<Guarded<K, R>>> {
        match self.typed.list(params).await {
            Err(error) if is_undecodable(&error) => self.guarded.list(params).await,
            listed => listed.map(|list| ObjectList {
                types: list.types,
                metadata: list.metadata,
                items: list.items.into_iter().map(|object| Guarded(Ok(object))).collect(),
            }),
        }
    }
}

fn fails_to_decode(error: &watcher::Error) -> bool {
    match error {
        // kube reads an event that it cannot decode as a Status, and any JSON object is one, with nothing in it.
        watcher::Error::WatchFailed(kube::Error::Api(status)) => **status == Status::default(),
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => is_undecodable(error),
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => false,
    }
}

/// Whether the answer is JSON that does not fit the type; one that was cut is no JSON.
fn is_undecodable(error: &kube::Error) -> bool {
    matches!(error, kube::Error::SerdeError(error) if error.classify() == Category::Data)
}

#[cfg(test)]
mod tests;
