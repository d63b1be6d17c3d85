//! `Debug` for types that do not implement it, such as [`kube::Client`].

use std::fmt;
use std::ops::Deref;

/// A value whose `Debug` output is only the name of its type, so that a struct with a client can derive `Debug`.
#[derive(Clone)]
pub struct Opaque<T>(pub T);

impl<T> fmt::Debug for Opaque<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = std::any::type_name::<T>();
        f.write_str(path.rsplit("::").next().unwrap_or(path))
    }
}

impl<T> Deref for Opaque<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Secret;

    #[test]
    fn debug_output_is_the_name_of_the_type() {
        assert_eq!(format!("{:?}", Opaque(Secret)), "Secret");
    }
}
