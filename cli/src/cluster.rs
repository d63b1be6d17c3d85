//! The cluster: the connection, the objects as they were read, and the objects kept up to date by watches.

mod connect;
pub(crate) mod find;
pub(crate) mod installation;
pub(crate) mod live;
mod no_proxy;
pub(crate) mod objects;
mod proxied;
pub(crate) mod proxy;

pub(crate) use self::connect::{Cluster, connect, connect_to_drain};
