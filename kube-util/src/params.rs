//! Request parameters that name the field manager.

use kube::api::{PatchParams, PostParams};

/// Parameters of a patch of any type by this field manager. An apply that must win conflicts adds `force()`.
pub fn patch_params(manager: &str) -> PatchParams {
    PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    }
}

/// Parameters of a create or replace by this field manager.
pub fn post_params(manager: &str) -> PostParams {
    PostParams {
        field_manager: Some(manager.to_owned()),
        ..PostParams::default()
    }
}
