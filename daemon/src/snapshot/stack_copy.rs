//! Copies a stack of layers into one folder, whiteouts and opaque folders applied.
//!
//! Owns: what an overlay of the same layers would show. Never: follows a link; a layer's content is hostile.

use std::{
    collections::HashMap,
    ffi::OsStr,
    io::{self, Read, Write},
    os::{fd::BorrowedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use crate::{
    snapshot::limits::COPY_BUFFER,
    sys::unpack::{Attributes, Beneath, Kind},
};

/// Copies `layers` (bottom first) into `target`, an empty folder.
pub(super) fn copy(layers: &[PathBuf], target: &Path) -> io::Result<()> {
    let mut to = Beneath::open(target)?;
    for layer in layers {
        LayerCopy { from: Beneath::open(layer)?, to: &mut to, links: HashMap::new() }.run()?;
    }
    Ok(())
}

/// Copies one folder, as it is seen through its descriptor, into `target`, an empty folder.
pub(super) fn copy_one(from: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    let mut to = Beneath::open(target)?;
    LayerCopy { from: Beneath::new(from)?, to: &mut to, links: HashMap::new() }.run()
}

struct LayerCopy<'a> {
    from: Beneath,
    to: &'a mut Beneath,
    /// First path of each file with several names, by inode.
    links: HashMap<u64, PathBuf>,
}

impl LayerCopy<'_> {
    fn run(&mut self) -> io::Result<()> {
        // Folders get their times last, deepest first: making something in one changes its time.
        let mut folders = vec![PathBuf::new()];
        let mut next = 0;
        while let Some(folder) = folders.get(next).cloned() {
            next += 1;
            for name in self.from.names(&folder)? {
                let path = folder.join(OsStr::from_bytes(&name));
                if self.entry(&path)? {
                    folders.push(path);
                }
            }
        }
        for folder in folders.iter().rev() {
            let attributes = self.attributes(folder)?;
            self.to.dress_folder(folder, &attributes)?;
        }
        Ok(())
    }

    /// Copies one entry; whether it is a folder to go into.
    fn entry(&mut self, path: &Path) -> io::Result<bool> {
        let Some(stat) = self.from.stat(path)? else { return Ok(false) };
        let kind = Kind::of(&stat);
        let there = self.to.kind(path)?;
        if kind == Kind::Folder {
            let opaque = |name: &[u8]| name == b"trusted.overlay.opaque";
            if there != Some(Kind::Folder) || !self.from.xattrs(path, opaque)?.is_empty() {
                self.to.remove(path)?;
                self.to.make_folder(path)?;
            }
            return Ok(true);
        }
        self.to.remove(path)?;
        if kind == Kind::WHITEOUT {
            return Ok(false);
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&stat.st_ino) {
                self.to.make_hard_link(path, first)?;
                return Ok(false);
            }
            self.links.insert(stat.st_ino, path.to_owned());
        }
        self.make(path, kind)?;
        Ok(false)
    }

    fn make(&mut self, path: &Path, kind: Kind) -> io::Result<()> {
        match kind {
            Kind::Folder | Kind::Socket => return Ok(()),
            Kind::File => {
                let mut from = self.from.read_file(path)?;
                let mut to = self.to.make_file(path)?;
                let mut buffer = vec![0; COPY_BUFFER];
                loop {
                    let length = from.read(&mut buffer)?;
                    if length == 0 {
                        break;
                    }
                    to.write_all(&buffer[..length])?;
                }
                return Beneath::dress_file(&to, &self.attributes(path)?);
            }
            Kind::Link => {
                let text = self.from.read_link(path)?;
                self.to.make_link(path, &text)?;
            }
            Kind::Char(..) | Kind::Block(..) | Kind::Fifo => self.to.make_node(path, kind)?,
        }
        let attributes = self.attributes(path)?;
        self.to.dress_node(path, &attributes)
    }

    fn attributes(&mut self, path: &Path) -> io::Result<Attributes> {
        let stat = self.from.stat(path)?.ok_or(io::ErrorKind::NotFound)?;
        let mut attributes = Attributes::of(&stat);
        attributes.xattrs = self.from.xattrs(path, |name| !name.starts_with(b"trusted.overlay."))?;
        Ok(attributes)
    }
}
