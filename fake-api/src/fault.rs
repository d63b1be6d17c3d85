//! What may go wrong with a request.

use std::time::Duration;

use crate::answer::Refusal;
use crate::request::Request;

/// What becomes of one request instead of its answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection breaks before the request is carried out.
    Reset,
    /// The request is carried out, and the connection breaks before the answer.
    LostReply,
    /// The request is not carried out, and no answer comes.
    Hang,
    /// The request is carried out, and no answer comes.
    Silence,
    /// The request is refused.
    Refused(Refusal),
    /// The request is carried out and answered, but later.
    Late(Duration),
}

/// Decides about each request.
pub type FaultFn = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;
