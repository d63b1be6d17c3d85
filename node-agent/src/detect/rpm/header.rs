//! The header of an installed package, as the RPM database stores it.
//!
//! Two big-endian counts (entries, bytes of data), the entries of 16 bytes (tag, type, offset, count), the data.

use std::io;

use chrono::{DateTime, Utc};

/// The largest number of entries that RPM itself accepts.
const MAX_ENTRIES: usize = 0xffff;
/// The largest data that RPM itself accepts.
const MAX_DATA: usize = 0x0fff_ffff;
/// Longer than any name, version or release.
const MAX_TEXT: usize = 256;

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const INSTALL_TIME: u32 = 1008;
const INT32: u32 = 4;
const STRING: u32 = 6;

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::detect) struct Package {
    /// Its name.
    pub(in crate::detect) name: String,
    /// Its version.
    pub(in crate::detect) version: String,
    /// Its release.
    pub(in crate::detect) release: String,
    /// When it was installed.
    pub(in crate::detect) installed: DateTime<Utc>,
}

impl Package {
    /// `name-version-release`, as rpm prints it.
    pub(in crate::detect) fn name_and_version(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, self.release)
    }
}

/// Where the bytes of a header are.
pub(super) trait Bytes {
    /// The bytes from this place on: as many as asked for.
    fn at(&mut self, offset: usize, count: usize) -> io::Result<Vec<u8>>;
}

impl Bytes for &[u8] {
    fn at(&mut self, offset: usize, count: usize) -> io::Result<Vec<u8>> {
        let end = offset.checked_add(count);
        let bytes = end.and_then(|end| self.get(offset..end));
        bytes
            .map(<[u8]>::to_vec)
            .ok_or_else(|| broken("it is shorter than it says"))
    }
}

/// Reads a header; `None` if the package is not in the list or has no time of installation.
pub(super) fn package(bytes: &mut impl Bytes, names: &[&str]) -> io::Result<Option<Package>> {
    let counts = bytes.at(0, 8)?;
    let (entries, length) = (number(&counts, 0)?, number(&counts, 4)?);
    if entries > MAX_ENTRIES || length > MAX_DATA {
        return Err(broken("its counts are too large"));
    }
    let index = bytes.at(8, 16 * entries)?;
    let mut data = Data {
        begin: 8 + 16 * entries,
        length,
        bytes,
    };
    let mut found = Fields::default();
    for entry in index.chunks_exact(16) {
        let (tag, kind) = (number(entry, 0)?, number(entry, 4)?);
        let offset = number(entry, 8)?;
        let (tag, kind) = (u32::try_from(tag).unwrap_or(0), u32::try_from(kind).unwrap_or(0));
        match (tag, kind) {
            (NAME, STRING) => {
                let name = data.text(offset)?;
                if !names.contains(&name.as_str()) {
                    return Ok(None);
                }
                found.name = Some(name);
            }
            (VERSION, STRING) => found.version = Some(data.text(offset)?),
            (RELEASE, STRING) => found.release = Some(data.text(offset)?),
            (INSTALL_TIME, INT32) => found.installed = DateTime::from_timestamp(data.number(offset)?, 0),
            _ => {}
        }
    }
    Ok(found.into_package())
}

#[derive(Default)]
struct Fields {
    name: Option<String>,
    version: Option<String>,
    release: Option<String>,
    installed: Option<DateTime<Utc>>,
}

impl Fields {
    fn into_package(self) -> Option<Package> {
        Some(Package {
            name: self.name?,
            version: self.version?,
            release: self.release?,
            installed: self.installed?,
        })
    }
}

struct Data<'a, B> {
    begin: usize,
    length: usize,
    bytes: &'a mut B,
}

impl<B: Bytes> Data<'_, B> {
    fn text(&mut self, offset: usize) -> io::Result<String> {
        let left = self
            .length
            .checked_sub(offset)
            .ok_or_else(|| broken("an offset is too large"))?;
        let bytes = self.bytes.at(self.begin + offset, left.min(MAX_TEXT))?;
        let end = bytes.iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| broken("a text does not end"))?;
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    fn number(&mut self, offset: usize) -> io::Result<i64> {
        if self.length.checked_sub(offset).is_none_or(|left| left < 4) {
            return Err(broken("an offset is too large"));
        }
        let bytes = self.bytes.at(self.begin + offset, 4)?;
        Ok(i64::try_from(number(&bytes, 0)?).unwrap_or_default())
    }
}

/// The big-endian number of 4 bytes at this place.
fn number(bytes: &[u8], at: usize) -> io::Result<usize> {
    let bytes: Option<[u8; 4]> = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    let number = bytes
        .map(u32::from_be_bytes)
        .and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| broken("it is shorter than it says"))
}

/// The error for bytes that are no header.
pub(super) fn broken(why: &str) -> io::Error {
    let text = format!("a package header is broken: {why}; run rpm --rebuilddb");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
