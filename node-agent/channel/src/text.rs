//! Text that fits into the fields of the custom resource.

pub use lockkeeper_text::bounded as fit;

/// The longest message that the custom resource accepts.
pub const MESSAGE: usize = 1024;
/// The longest name or cause that the custom resource accepts.
pub const NAME: usize = 256;
