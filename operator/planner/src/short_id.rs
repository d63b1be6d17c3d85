//! Short ids, derived and not drawn: the same input gives the same id.

/// Eight hex digits of these bytes (FNV-1a).
pub(crate) fn short_id(bytes: impl Iterator<Item = u8>) -> String {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:08x}", (hash ^ (hash >> 32)) as u32)
}
