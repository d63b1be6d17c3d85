//! Text for people: lines, the terminal, and the parts that several commands share.

mod history_entry;
mod line;
mod node;
mod number;
mod policy;
pub(crate) mod terminal;

pub(crate) use self::history_entry::{ended, measurements};
pub(crate) use self::line::Line;
pub(crate) use self::node::{message, state_column};
pub(crate) use self::number::{counted, thousands};
pub(crate) use self::policy::{deadline, not_ready, window};
