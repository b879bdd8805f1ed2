//! Where the spaces are among generic addresses. Global memory is at the bottom, a buffer each 2^40 bytes.

use crate::parse::Space;

pub(crate) const SHARED: u64 = 1 << 60;
pub(crate) const LOCAL: u64 = 2 << 60;
pub(crate) const PARAM: u64 = 3 << 60;
pub(crate) const CONST: u64 = 4 << 60;

/// Bytes between the beginnings of buffers, as a power of two: an index that goes astray does not land in another.
const BUFFER: u32 = 40;

/// The address of a buffer; `low` are its lowest bits.
pub(crate) fn buffer(index: usize, low: u64) -> u64 {
    ((index as u64 + 1) << BUFFER) + low
}

/// The buffer of a global address, and the place from the buffer's round address.
pub(crate) fn of_global(address: u64) -> Option<(usize, u64)> {
    let index = (address >> BUFFER).checked_sub(1)?;
    Some((index as usize, address & ((1 << BUFFER) - 1)))
}

/// The space of a generic address, and the address in it; others are as they are, but for variables of the module in global memory.
pub(crate) fn resolve(space: Space, address: u64) -> (Space, u64) {
    let is_of_module = space == Space::Global && address >> 60 == CONST >> 60;
    if !matches!(space, Space::Generic | Space::Const) && !is_of_module {
        return (space, address);
    }
    let within = address & (SHARED - 1);
    match address >> 60 {
        0 => (Space::Global, address),
        1 => (Space::Shared, within),
        2 => (Space::Local, within),
        3 => (Space::Param, within),
        4 => (Space::Const, within),
        // No space begins there: an address of none.
        _ => (Space::Global, 0),
    }
}
