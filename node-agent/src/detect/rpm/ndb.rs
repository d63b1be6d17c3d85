//! The database in the format of SUSE, `ndb`: slots of 16 bytes that tell where the header of each package is.
//!
//! All numbers are little-endian. The file begins with `RpmP`, version, generation, count of slot pages (4096 bytes each)
//! and 16 more bytes, which take the place of two slots. A slot has `Slot`, package, place and length in blocks of 16 bytes.
//! A place begins with `BlbS`, package, generation and the length of the header that follows.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::header::{Bytes, Package, broken, package};

const MAGIC: [u8; 4] = *b"RpmP";
const SLOT: [u8; 4] = *b"Slot";
const BLOB: [u8; 4] = *b"BlbS";
/// Slots and blocks have this length.
const BLOCK: u64 = 16;
const PAGE: u64 = 4096;
/// More slots than any host has packages: 1 M.
const MAX_PAGES: u64 = 4096;

/// Packages of these names. Reads of each header only what it needs.
pub(super) fn packages(path: &Path, names: &[&str]) -> io::Result<Vec<Package>> {
    let file = File::open(path)?;
    let mut head = [0; 16];
    file.read_exact_at(&mut head, 0)?;
    let (version, pages) = (little(&head, 4), u64::from(little(&head, 12)));
    if head[..4] != MAGIC || version != 0 || pages == 0 || pages > MAX_PAGES {
        return Err(broken("the file is no ndb database of version 0"));
    }
    let mut slots = vec![0; usize::try_from(pages * PAGE).unwrap_or_default()];
    file.read_exact_at(&mut slots, 0)?;
    let mut found = Vec::new();
    // The head takes the place of two slots.
    for slot in slots.chunks_exact(16).skip(2) {
        let (id, place) = (little(slot, 4), u64::from(little(slot, 8)));
        if slot[..4] != SLOT {
            return Err(broken("a slot is damaged"));
        }
        if place != 0 {
            found.extend(package(&mut blob(&file, id, place * BLOCK)?, names)?);
        }
    }
    Ok(found)
}

/// The header at this place of the file.
fn blob(file: &File, id: u32, place: u64) -> io::Result<Blob<'_>> {
    let mut head = [0; 16];
    file.read_exact_at(&mut head, place)?;
    if head[..4] != BLOB || little(&head, 4) != id {
        return Err(broken("it is not where its slot says"));
    }
    Ok(Blob {
        file,
        begin: place + BLOCK,
        length: u64::from(little(&head, 12)),
    })
}

struct Blob<'a> {
    file: &'a File,
    begin: u64,
    length: u64,
}

impl Bytes for Blob<'_> {
    fn at(&mut self, offset: usize, count: usize) -> io::Result<Vec<u8>> {
        let (offset, end) = (offset as u64, offset.saturating_add(count) as u64);
        if end > self.length {
            return Err(broken("it is shorter than it says"));
        }
        let mut bytes = vec![0; count];
        self.file.read_exact_at(&mut bytes, self.begin + offset)?;
        Ok(bytes)
    }
}

/// The little-endian number of 4 bytes at this place of 16.
fn little(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}
