//! The node that a check asks about.

use lockkeeper_planner::CheckJobs;

/// A node that a check asks about.
#[derive(Clone, Copy, Debug)]
pub struct AskedNode<'a> {
    /// Its name.
    pub name: &'a str,
    /// For what Jobs run now, if they do.
    pub jobs: Option<&'a CheckJobs>,
}
