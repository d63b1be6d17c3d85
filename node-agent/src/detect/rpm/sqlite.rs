//! The database as an `SQLite` file.

use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, ToSql, params_from_iter};

use super::header::{Package, package};

/// Packages of these names. Reads only their rows: the whole file has many megabytes.
pub(super) fn packages(path: &Path, names: &[&str]) -> io::Result<Vec<Package>> {
    query(path, names).map_err(|error| match error {
        Problem::Sqlite(error) => io::Error::other(format!("{}: {error}", path.display())),
        Problem::Header(error) => error,
    })
}

enum Problem {
    Sqlite(rusqlite::Error),
    Header(io::Error),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn query(path: &Path, names: &[&str]) -> Result<Vec<Package>, Problem> {
    // Immutable: the mount is read-only, and SQLite would otherwise create its shared memory beside the file.
    let uri = format!("file:{}?immutable=1", escaped(&path.to_string_lossy()));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(uri, flags)?;
    let marks = vec!["?"; names.len()].join(", ");
    let sql = format!("SELECT blob FROM Packages WHERE hnum IN (SELECT hnum FROM Name WHERE key IN ({marks}))");
    let mut statement = database.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(names.iter().map(|name| name as &dyn ToSql)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut blob = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        found.extend(package(&mut blob, names).map_err(Problem::Header)?);
    }
    Ok(found)
}

/// A path in a URI.
fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}
