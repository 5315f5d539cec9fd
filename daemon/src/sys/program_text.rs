//! Parts of our own program's file that were read once and will not be again.
//!
//! Owns: nothing. Never: a writable segment; what is in those is not in the file.

/// Unmaps the whole pages of these bytes, which lie in a read-only segment of the program's file: they stay in the page
/// cache, and are mapped again where somebody reads them. Our own memory is the less by as much.
pub fn forget(bytes: &'static [u8]) {
    let (begin, end) = (bytes.as_ptr().addr().next_multiple_of(PAGE), bytes.as_ptr().addr() + bytes.len());
    let Some(length) = (end / PAGE * PAGE).checked_sub(begin).filter(|length| *length > 0) else { return };
    let offset = begin - bytes.as_ptr().addr();
    let at = bytes.as_ptr().wrapping_add(offset).cast_mut();
    // SAFETY: the pages hold nothing but these constant bytes, in a segment that is mapped from the file and never
    // written: what is dropped is read again from the file, unchanged, at the next touch.
    unsafe { nix::libc::madvise(at.cast(), length, nix::libc::MADV_DONTNEED) };
}

/// Size of a page on every machine we build for; a larger one only makes the call fail.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    static BYTES: &[u8] = include_bytes!("program_text.rs");

    #[test]
    fn forgotten_bytes_are_still_there() {
        let before = BYTES.to_vec();
        super::forget(BYTES);
        super::forget(&[]);
        assert_eq!(BYTES, before);
    }
}
