//! The shim's own program text: shared by all shims of a node, but each maps what it once touched.
//!
//! Owns: giving those mappings back. Never: a writable segment; what is in those is not in the file.

/// Unmaps the pages of the read-only segments from this process. They stay in the page cache, and the next touch of
/// each maps it again with its neighbours: an idle shim is charged for the few that its wait needs, not for all that
/// a launch used.
pub(crate) fn release_text() {
    // SAFETY: getauxval reads what the kernel passed at exec; it has no preconditions.
    let headers = unsafe { libc::getauxval(libc::AT_PHDR) };
    // SAFETY: as above.
    let count = unsafe { libc::getauxval(libc::AT_PHNUM) };
    let (Ok(at), Ok(count)) = (usize::try_from(headers), usize::try_from(count)) else { return };
    if at == 0 || count == 0 {
        return;
    }
    let first = std::ptr::with_exposed_provenance::<libc::Elf64_Phdr>(at);
    // SAFETY: the kernel says that this many program headers of this very program are mapped there; the segment that
    // holds them is read-only and stays mapped for life.
    let headers = unsafe { std::slice::from_raw_parts(first, count) };
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
        if header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let (Ok(begin), Ok(len)) = (usize::try_from(header.p_vaddr), usize::try_from(header.p_memsz)) else {
            return;
        };
        // The program is linked to a fixed address, so virtual addresses are the real ones.
        let begin = begin / super::PAGE * super::PAGE;
        let address = std::ptr::without_provenance_mut::<libc::c_void>(begin);
        // SAFETY: the pages belong to a read-only, file-backed segment: what is dropped is read again from the file,
        // unchanged, at the next touch.
        unsafe { libc::madvise(address, len, libc::MADV_DONTNEED) };
    }
}
