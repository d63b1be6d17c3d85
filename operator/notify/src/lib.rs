//! Notifications: the operator's Events as messages to chat services and other receivers.
//!
//! Each receiver has a bounded queue and a task of its own. What the operator hands over never makes it wait: a receiver
//! that hangs or fails delays and loses its own messages only, and these are counted. Events that arrive while a message
//! is on its way, or too soon after the last one, become one message.

#![warn(missing_docs)]

mod config;
mod deliver;
mod dispatch;
mod event;
mod format;
mod observer;
mod repeated;
mod template;
mod text;

pub use config::{Config, KnownEvents, Receiver};
pub use deliver::Transport;
pub use dispatch::{Dispatcher, Notifier};
pub use event::{Event, Severity};
pub use format::Format;
pub use observer::{Observer, Outcome};
