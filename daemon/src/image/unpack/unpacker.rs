//! The unpacking of one layer.
//!
//! Owns: the order of operations per entry. Never: reads outside the layer's folder, but for the attributes of
//! folders that only the layers below name.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::{
    OPAQUE_ATTRIBUTE,
    entry_path::EntryPath,
    error::{UnpackError, shown},
    merged::{self, Way},
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

/// Bounds of one layer; see `limits.rs` for the usual ones.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most files, folders, links and whiteouts.
    pub entries: u64,
    /// Most bytes, unpacked, with the framing of the archive.
    pub bytes: u64,
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
        let plain = member.kind == MemberKind::File && !path.is_root() && !path.name().starts_with(WHITEOUT);
        // Most entries are new files in a folder of this layer. Whatever is in the way, the long way finds it.
        if plain && let Ok(file) = self.to.make_file(path.as_path()) {
            return self.fill(tar, file, &member);
        }
        let path = self.resolved(path)?;
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
        let file = self.to.make_file(path.as_path()).map_err(disk(&member.path, "make the file"))?;
        self.fill(tar, file, member)
    }

    fn fill<R: Skip>(
        &mut self,
        tar: &mut TarStream<R>,
        mut file: File,
        member: &Member,
    ) -> Result<(), UnpackError> {
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
        let bad = || UnpackError::BadTarget { entry: shown(&member.path), target: shown(&member.link) };
        let gone = || UnpackError::NoTarget { entry: shown(&member.path), target: shown(&member.link) };
        let target = EntryPath::parse(&member.link).map_err(|_| bad())?;
        let target = self.resolved(target).map_err(|error| match error {
            UnpackError::NoFolder { .. } => gone(),
            UnpackError::Circle { .. } => bad(),
            other => other,
        })?;
        match self.to.kind(target.as_path()) {
            Ok(Some(Kind::Folder)) => return Err(bad()),
            Ok(Some(Kind::WHITEOUT)) => return Err(gone()),
            Ok(Some(_)) => {}
            Ok(None) => self.copy_up(&target, gone)?,
            Err(error) if missing(&error) => self.copy_up(&target, gone)?,
            Err(source) => {
                let entry = shown(&member.path);
                return Err(UnpackError::Disk { entry, what: "find the target", source });
            }
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

    /// The name under which an entry really stands: the way to it may lead through links, of this layer or of
    /// those below, and stays inside. The last name is never followed.
    fn resolved(&mut self, path: EntryPath) -> Result<EntryPath, UnpackError> {
        match self.to.kind(path.as_path()) {
            // Its folders are in this layer: nothing else can be meant.
            Ok(_) => return Ok(path),
            Err(error) if led_astray(&error) || missing(&error) || no_folder(&error) => {}
            Err(source) => return Err(disk(path.bytes(), "look")(source)),
        }
        let entry = shown(path.bytes());
        let Self { to, below, fresh, .. } = self;
        let mut layers = || match &below {
            Some(layers) => Ok(layers.clone()),
            None => Ok(below.insert(fresh.below().map_err(io::Error::other)?).clone()),
        };
        match merged::folder(to, &mut layers, path.parent()) {
            Ok(Way::Open(folder)) => Ok(path.in_folder(&folder)),
            Ok(Way::NoFolder) => Err(UnpackError::NoFolder { entry }),
            Ok(Way::Circle) => Err(UnpackError::Circle { entry }),
            Err(source) => Err(UnpackError::Disk { entry, what: "look", source }),
        }
    }

    /// Makes the folders above `path` (which has been resolved) that the archive did not name, like those of the
    /// layers below.
    fn make_parents(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        let entry = || shown(path.bytes());
        match self.to.kind(path.as_path()) {
            Ok(_) => return Ok(()),
            Err(error) if missing(&error) || no_folder(&error) => {}
            Err(source) => return Err(UnpackError::Disk { entry: entry(), what: "look", source }),
        }
        let mut at = PathBuf::new();
        for part in path.parent() {
            at.push(part);
            let folder = EntryPath::parse(at.as_os_str().as_encoded_bytes())?;
            match self.to.kind(&at).map_err(disk(path.bytes(), "look"))? {
                Some(Kind::Folder) => {}
                there @ (None | Some(Kind::WHITEOUT)) => {
                    self.new_folder(&folder, there)?;
                    let attributes = self.attributes_below(&at)?;
                    self.remember(folder, attributes)?;
                }
                Some(_) => return Err(UnpackError::NoFolder { entry: entry() }),
            }
        }
        Ok(())
    }

    /// Brings a file of the layers below into this one, so that another name can be given to it.
    fn copy_up(&mut self, path: &EntryPath, gone: impl Fn() -> UnpackError) -> Result<(), UnpackError> {
        let failed = |what| disk(path.bytes(), what);
        let found = merged::find(self.below()?, path.as_path()).map_err(failed("look"))?;
        let Some((mut layer, kind)) = found.filter(|(_, kind)| *kind != Kind::Folder) else {
            return Err(gone());
        };
        self.make_parents(path)?;
        let stat = layer.stat(path.as_path()).map_err(failed("look"))?.ok_or_else(&gone)?;
        let mut attributes = Attributes::of(&stat);
        let own = |name: &[u8]| !name.starts_with(b"trusted.");
        attributes.xattrs = layer.xattrs(path.as_path(), own).map_err(failed("read the attributes"))?;
        if kind == Kind::File {
            let mut from = layer.read_file(path.as_path()).map_err(failed("open"))?.take(self.bounds.bytes);
            let mut to = self.to.make_file(path.as_path()).map_err(failed("make the file"))?;
            let copied = io::copy(&mut from, &mut to).map_err(failed("copy"))?;
            self.bytes += copied;
            if self.bytes >= self.bounds.bytes {
                return Err(UnpackError::Bound { what: "bytes, unpacked", max: self.bounds.bytes });
            }
            return Beneath::dress_file(&to, &attributes).map_err(failed("set the attributes"));
        }
        let made = match kind {
            Kind::Link => {
                layer.read_link(path.as_path()).and_then(|text| self.to.make_link(path.as_path(), &text))
            }
            _ => self.to.make_node(path.as_path(), kind),
        };
        made.and_then(|()| self.to.dress_node(path.as_path(), &attributes)).map_err(failed("copy"))
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
