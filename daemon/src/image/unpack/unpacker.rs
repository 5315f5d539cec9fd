//! The unpacking of one layer.
//!
//! Owns: the order of operations per entry. Never: reads outside the layer's folder, but for the attributes of
//! folders that only the layers below name.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use super::{
    entry_path::EntryPath,
    error::{UnpackError, shown},
    xattrs,
};
use crate::{
    image::{
        limits::{BUFFER, ENTRIES_MAX, FOLDER_NAMES_MAX, LAYER_MAX, PATH_MAX},
        tar_stream::{Member, MemberKind, Skip, TarStream},
    },
    snapshot::Fresh,
    sys::unpack::{Attributes, Beneath, Kind, led_astray},
};

/// Beginning of the names that hide what is below (OCI image-spec, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// Beginning of names that aufs keeps for itself.
const AUFS: &[u8] = b".wh..wh.";
/// The name that hides all of its folder below.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// overlay's attribute for the same.
const OPAQUE_ATTRIBUTE: &str = "trusted.overlay.opaque";

/// Bounds of one layer; see `limits.rs` for the usual ones.
#[derive(Debug, Clone, Copy)]
pub(in crate::image) struct Bounds {
    pub(in crate::image) entries: u64,
    pub(in crate::image) bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: ENTRIES_MAX, bytes: LAYER_MAX }
    }
}

/// One layer being unpacked.
#[derive(Debug)]
pub(in crate::image) struct Unpacker<'a> {
    to: Beneath,
    fresh: &'a Fresh<'a>,
    /// Folders of the layers below, nearest first, once they were needed.
    below: Option<Vec<PathBuf>>,
    bounds: Bounds,
    entries: u64,
    bytes: u64,
    /// Folders and what they are to look like in the end (making something in one changes its time); later
    /// entries of the same name win.
    folders: Vec<(EntryPath, Attributes)>,
    folder_names: usize,
    buffer: Vec<u8>,
}

impl<'a> Unpacker<'a> {
    /// Will fill this layer.
    pub(in crate::image) fn new(fresh: &'a Fresh<'a>, bounds: Bounds) -> Result<Self, UnpackError> {
        let to = Beneath::new(fresh.folder).map_err(disk(b".", "open"))?;
        let buffer = vec![0; BUFFER];
        let (folders, folder_names) = (Vec::new(), 0);
        Ok(Self { to, fresh, below: None, bounds, entries: 0, bytes: 0, folders, folder_names, buffer })
    }

    /// Unpacks every entry. Returns the bytes of all files.
    pub(in crate::image) fn run<R: Skip>(mut self, tar: &mut TarStream<R>) -> Result<u64, UnpackError> {
        while let Some(member) = tar.next_member()? {
            self.entries += 1;
            if self.entries > self.bounds.entries {
                return Err(UnpackError::Bound { what: "entries", max: self.bounds.entries });
            }
            self.entry(tar, member)?;
        }
        for (path, attributes) in std::mem::take(&mut self.folders) {
            if path.is_root() {
                self.fresh.root_is_dressed();
            }
            let name = path.as_path().as_os_str().as_encoded_bytes().to_vec();
            // It may have been replaced by a later entry.
            if self.to.kind(path.as_path()).is_ok_and(|kind| kind == Some(Kind::Folder)) {
                let dressed = self.to.dress_folder(path.as_path(), &attributes);
                dressed.map_err(disk(&name, "set the attributes"))?;
            }
        }
        Ok(self.bytes)
    }

    fn entry<R: Skip>(&mut self, tar: &mut TarStream<R>, mut member: Member) -> Result<(), UnpackError> {
        let path = EntryPath::parse(&member.path)?;
        member.attributes.xattrs = xattrs::kept(&member)?;
        if path.name().starts_with(WHITEOUT) {
            return self.whiteout(&path);
        }
        match member.kind {
            MemberKind::Sparse => {
                return Err(UnpackError::Kind {
                    entry: shown(&member.path),
                    kind: "a sparse file".to_owned(),
                });
            }
            MemberKind::Other(letter) => {
                let kind = format!("of type '{}'", letter.escape_ascii());
                return Err(UnpackError::Kind { entry: shown(&member.path), kind });
            }
            MemberKind::Folder => return self.folder(path, member),
            MemberKind::File | MemberKind::Link | MemberKind::HardLink | MemberKind::Node(_) => {}
        }
        if path.is_root() {
            return Err(UnpackError::Value { entry: shown(&member.path), what: "name" });
        }
        self.make_parents(&path)?;
        match member.kind {
            MemberKind::File => self.file(tar, &path, &member),
            MemberKind::HardLink => self.hard_link(&path, &member),
            MemberKind::Link => {
                if member.link.is_empty() || member.link.len() > PATH_MAX || member.link.contains(&0) {
                    return Err(UnpackError::Value { entry: shown(&member.path), what: "link" });
                }
                self.clear(&path)?;
                let text = Path::new(os(&member.link));
                self.to.make_link(path.as_path(), text).map_err(disk(&member.path, "make the link"))?;
                self.dress_node(&path, &member)
            }
            MemberKind::Node(kind) => {
                self.clear(&path)?;
                self.to.make_node(path.as_path(), kind).map_err(disk(&member.path, "make the node"))?;
                self.dress_node(&path, &member)
            }
            MemberKind::Folder | MemberKind::Sparse | MemberKind::Other(_) => Ok(()),
        }
    }

    fn file<R: Skip>(
        &mut self,
        tar: &mut TarStream<R>,
        path: &EntryPath,
        member: &Member,
    ) -> Result<(), UnpackError> {
        self.clear(path)?;
        let mut file = self.to.make_file(path.as_path()).map_err(disk(&member.path, "make the file"))?;
        loop {
            let length = tar.read(&mut self.buffer)?;
            if length == 0 {
                break;
            }
            file.write_all(&self.buffer[..length]).map_err(disk(&member.path, "write"))?;
            self.bytes += length as u64;
        }
        Beneath::dress_file(&file, &member.attributes).map_err(disk(&member.path, "set the attributes"))
    }

    fn hard_link(&mut self, path: &EntryPath, member: &Member) -> Result<(), UnpackError> {
        let entry = || shown(&member.path);
        let bad = || UnpackError::BadTarget { entry: shown(&member.path), target: shown(&member.link) };
        let gone = || UnpackError::NoTarget { entry: shown(&member.path), target: shown(&member.link) };
        let target = EntryPath::parse(&member.link).map_err(|_| bad())?;
        match self.to.kind(target.as_path()) {
            Ok(Some(Kind::Folder)) => return Err(bad()),
            Ok(None | Some(Kind::WHITEOUT)) => return Err(gone()),
            Ok(Some(_)) => {}
            Err(error) if led_astray(&error) => return Err(bad()),
            Err(error) if missing(&error) => return Err(gone()),
            Err(source) => return Err(UnpackError::Disk { entry: entry(), what: "find the target", source }),
        }
        if target == *path {
            return Ok(());
        }
        self.clear(path)?;
        let linked = self.to.make_hard_link(path.as_path(), target.as_path());
        // Clearing the way may have taken the target with it.
        linked.map_err(|source| if missing(&source) { gone() } else { disk(&member.path, "link")(source) })
    }

    fn folder(&mut self, path: EntryPath, member: Member) -> Result<(), UnpackError> {
        if !path.is_root() {
            self.make_parents(&path)?;
            let there = self.to.kind(path.as_path()).map_err(disk(&member.path, "look"))?;
            if there != Some(Kind::Folder) {
                self.new_folder(&path, there)?;
            }
        }
        self.remember(path, member.attributes)
    }

    /// Makes a folder. Over a whiteout of this layer it hides what is below: it is a new one.
    fn new_folder(&mut self, path: &EntryPath, there: Option<Kind>) -> Result<(), UnpackError> {
        let name = path.as_path().as_os_str().as_encoded_bytes();
        self.to.remove(path.as_path()).map_err(disk(name, "make way"))?;
        self.to.make_folder(path.as_path()).map_err(disk(name, "make the folder"))?;
        if there == Some(Kind::WHITEOUT) {
            self.to
                .mark_folder(path.as_path(), OPAQUE_ATTRIBUTE, b"y")
                .map_err(disk(name, "hide what is below"))?;
        }
        Ok(())
    }

    fn whiteout(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        let name = path.as_path().as_os_str().as_encoded_bytes().to_vec();
        if path.name() == OPAQUE {
            self.make_parents(path)?;
            let marked = self.to.mark_folder(path.parent(), OPAQUE_ATTRIBUTE, b"y");
            return marked.map_err(disk(&name, "hide what is below"));
        }
        if path.name().starts_with(AUFS) {
            return Ok(());
        }
        let hidden = &path.name()[WHITEOUT.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(UnpackError::Whiteout { entry: shown(&name) });
        }
        self.make_parents(path)?;
        let hidden = path.sibling(hidden);
        match self.to.kind(hidden.as_path()).map_err(disk(&name, "look"))? {
            None => {
                self.to.make_node(hidden.as_path(), Kind::WHITEOUT).map_err(disk(&name, "make the whiteout"))
            }
            // The layer brings a folder of this name itself: only what is below it is hidden.
            Some(Kind::Folder) => self
                .to
                .mark_folder(hidden.as_path(), OPAQUE_ATTRIBUTE, b"y")
                .map_err(disk(&name, "hide what is below")),
            Some(_) => Ok(()),
        }
    }

    /// Makes the folders above `path` that the archive did not name, like those of the layers below.
    fn make_parents(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        let entry = || shown(path.as_path().as_os_str().as_encoded_bytes());
        match self.to.kind(path.as_path()) {
            Ok(_) => return Ok(()),
            Err(error) if led_astray(&error) => return Err(UnpackError::ThroughLink { entry: entry() }),
            Err(error) if missing(&error) || no_folder(&error) => {}
            Err(source) => return Err(UnpackError::Disk { entry: entry(), what: "look", source }),
        }
        let mut at = PathBuf::new();
        for part in path.parent() {
            at.push(part);
            let folder = EntryPath::parse(at.as_os_str().as_encoded_bytes())?;
            match self.to.kind(&at).map_err(|source| UnpackError::Disk {
                entry: entry(),
                what: "look",
                source,
            })? {
                Some(Kind::Folder) => {}
                there @ (None | Some(Kind::WHITEOUT)) => {
                    self.new_folder(&folder, there)?;
                    let attributes = self.attributes_below(&at)?;
                    self.remember(folder, attributes)?;
                }
                Some(Kind::Link) => return Err(UnpackError::ThroughLink { entry: entry() }),
                Some(_) => return Err(UnpackError::NoFolder { entry: entry() }),
            }
        }
        Ok(())
    }

    /// What a folder looks like in the nearest layer below that has it; else as folders usually do.
    fn attributes_below(&mut self, path: &Path) -> Result<Attributes, UnpackError> {
        for layer in self.below()? {
            let found = Beneath::open(layer).and_then(|mut layer| {
                let Some(stat) = layer.stat(path)? else { return Ok(None) };
                let mut attributes = Attributes::of(&stat);
                attributes.xattrs = layer.xattrs(path, |name| !name.starts_with(b"trusted."))?;
                Ok(Some((Kind::of(&stat), attributes)))
            });
            match found {
                Ok(Some((Kind::Folder, attributes))) => return Ok(attributes),
                Ok(Some(_)) => break,
                Ok(None) | Err(_) => {}
            }
        }
        Ok(Attributes { mode: 0o755, ..Attributes::default() })
    }

    /// The layers below, nearest first. Waits for those that are still being made.
    fn below(&mut self) -> Result<&[PathBuf], UnpackError> {
        if self.below.is_none() {
            self.below = Some(self.fresh.below().map_err(UnpackError::Below)?);
        }
        Ok(self.below.as_deref().unwrap_or_default())
    }

    fn remember(&mut self, path: EntryPath, attributes: Attributes) -> Result<(), UnpackError> {
        let held: usize = attributes.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.folder_names += path.as_path().as_os_str().len() + held + size_of::<(EntryPath, Attributes)>();
        if self.folder_names > FOLDER_NAMES_MAX {
            return Err(UnpackError::Bound { what: "bytes of folder names", max: FOLDER_NAMES_MAX as u64 });
        }
        self.folders.push((path, attributes));
        Ok(())
    }

    fn clear(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        let name = path.as_path().as_os_str().as_encoded_bytes();
        self.to.remove(path.as_path()).map_err(disk(name, "make way"))
    }

    fn dress_node(&mut self, path: &EntryPath, member: &Member) -> Result<(), UnpackError> {
        let mut attributes = member.attributes.clone();
        // The kernel knows user attributes on files and folders only.
        attributes.xattrs.retain(|(name, _)| !name.starts_with(b"user."));
        self.to.dress_node(path.as_path(), &attributes).map_err(disk(&member.path, "set the attributes"))
    }
}

fn os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

fn missing(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

fn no_folder(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotADirectory
}

fn disk(name: &[u8], what: &'static str) -> impl FnOnce(std::io::Error) -> UnpackError {
    let entry = shown(name);
    move |source| UnpackError::Disk { entry, what, source }
}
