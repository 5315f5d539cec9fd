//! Where an image comes from: a folder, or a tar file of the same content, compressed or not.
//!
//! Owns: finding a file of the image by name. Never: leaves the folder, follows a link of the host, or writes
//! anything but an unnamed temporary file.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{Mode, OFlags};

use crate::{
    image::{
        Digest, ImageError,
        blob::{Decoder, Hashing, Section},
        limits::{ARCHIVE_FILES_MAX, ARCHIVE_LINKS, BUFFER, LAYER_MAX},
        tar_stream::{MemberKind, TarStream},
        unpack::UnpackError,
    },
    sys::unpack::Beneath,
};

/// An opened source.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Folder(Beneath),
    Tar { file: Arc<File>, members: HashMap<Vec<u8>, Place> },
}

#[derive(Debug)]
enum Place {
    Data {
        at: u64,
        size: u64,
    },
    /// Another name: `docker save` of old keeps a layer once and links to it.
    Link(Vec<u8>),
}

impl Archive {
    /// Opens a folder, or a tar file whose table of contents is read now. A compressed one is decompressed
    /// into an unnamed file in `scratch` first.
    pub(super) fn open(path: &Path, scratch: &Path) -> Result<Self, ImageError> {
        let failed = |source| ImageError::Source { path: path.to_owned(), source };
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        if kind.is_dir() {
            let folder = Beneath::open(&path.canonicalize().map_err(failed)?).map_err(failed)?;
            return Ok(Self { path: path.to_owned(), form: Form::Folder(folder) });
        }
        if !kind.is_file() {
            return Err(failed(io::Error::other("it is neither a file nor a folder")));
        }
        let damaged = |source| ImageError::Archive { path: path.to_owned(), source };
        let file = decompressed(File::open(path).map_err(failed)?, scratch).map_err(damaged)?;
        let length = file.metadata().map_err(failed)?.len();
        let file = Arc::new(file);
        let members = contents(Section { file: Arc::clone(&file), at: 0, end: length }).map_err(damaged)?;
        Ok(Self { path: path.to_owned(), form: Form::Tar { file, members } })
    }

    /// The source's own path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file of the image; `None`: there is none of this name.
    pub(super) fn find(&self, name: &str) -> Result<Option<Section>, ImageError> {
        let Some(key) = plain(name.as_bytes()) else { return Ok(None) };
        match &self.form {
            Form::Folder(folder) => {
                let file = match folder.read_file(Path::new(name)) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(source) => return Err(ImageError::Source { path: self.path.join(name), source }),
                };
                let failed = |source| ImageError::Source { path: self.path.join(name), source };
                let facts = file.metadata().map_err(failed)?;
                if !facts.is_file() {
                    return Err(failed(io::Error::other("it is no regular file")));
                }
                Ok(Some(Section { file: Arc::new(file), at: 0, end: facts.len() }))
            }
            Form::Tar { file, members } => {
                let mut key = key;
                for _ in 0..=ARCHIVE_LINKS {
                    match members.get(&key) {
                        Some(Place::Data { at, size }) => {
                            return Ok(Some(Section { file: Arc::clone(file), at: *at, end: at + size }));
                        }
                        Some(Place::Link(to)) => key.clone_from(to),
                        None => break,
                    }
                }
                Ok(None)
            }
        }
    }

    /// A file that must be there.
    pub(super) fn need(&self, name: &str) -> Result<Section, ImageError> {
        self.find(name)?.ok_or_else(|| ImageError::Missing(name.to_owned()))
    }

    /// A whole document of bounded length; `None`: there is none of this name.
    pub(super) fn document(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, ImageError> {
        let Some(section) = self.find(name)? else { return Ok(None) };
        if section.len() > max {
            return Err(ImageError::TooLarge { name: name.to_owned(), max });
        }
        let mut bytes = Vec::new();
        let read = section.take(max).read_to_end(&mut bytes);
        read.map_err(|source| ImageError::Source { path: self.path.join(name), source })?;
        Ok(Some(bytes))
    }

    /// A blob's document, its digest and (where stated) length checked.
    pub(super) fn blob(&self, digest: &Digest, size: Option<u64>, max: u64) -> Result<Vec<u8>, ImageError> {
        let name = blob_name(digest);
        let bytes = self.document(&name, max)?.ok_or_else(|| ImageError::Missing(name.clone()))?;
        check_length(&name, size, bytes.len() as u64)?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(ImageError::WrongDigest { name, expected: digest.clone(), found });
        }
        Ok(bytes)
    }
}

/// Where a layout keeps a blob.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Refuses a length other than the stated one.
pub(super) fn check_length(name: &str, expected: Option<u64>, found: u64) -> Result<(), ImageError> {
    match expected {
        Some(expected) if expected != found => {
            Err(ImageError::WrongLength { name: name.to_owned(), expected, found })
        }
        _ => Ok(()),
    }
}

/// A name without `.` and empty parts, `..` resolved; `None`: it climbs out.
fn plain(name: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// Reads a tar file's table of contents, passing over the data.
fn contents(file: Section) -> Result<HashMap<Vec<u8>, Place>, UnpackError> {
    let mut members = HashMap::new();
    let mut tar = TarStream::new(file);
    let mut count = 0;
    while let Some(member) = tar.next_member()? {
        count += 1;
        if count > ARCHIVE_FILES_MAX {
            return Err(UnpackError::Bound { what: "files in the archive", max: ARCHIVE_FILES_MAX as u64 });
        }
        let Some(name) = plain(&member.path) else { continue };
        let place = match member.kind {
            MemberKind::File => Place::Data { at: member.offset, size: member.size },
            MemberKind::HardLink => match plain(&member.link) {
                Some(target) => Place::Link(target),
                None => continue,
            },
            MemberKind::Link => {
                let folder = name.iter().rposition(|b| *b == b'/').map_or(&b""[..], |at| &name[..at]);
                match plain(&[folder, &member.link[..]].join(&b'/')) {
                    Some(target) => Place::Link(target),
                    None => continue,
                }
            }
            MemberKind::Folder | MemberKind::Node(_) | MemberKind::Sparse | MemberKind::Other(_) => continue,
        };
        members.insert(name, place);
    }
    Ok(members)
}

/// The file itself, or what comes out of it if it is compressed.
fn decompressed(file: File, scratch: &Path) -> Result<File, UnpackError> {
    let failed = |source| UnpackError::Read { offset: 0, source };
    let source = BufReader::with_capacity(BUFFER, file);
    let decoder = match Decoder::new(source)? {
        Decoder::Plain(source) => {
            let mut file = source.into_inner();
            file.rewind().map_err(failed)?;
            return Ok(file);
        }
        decoder => decoder,
    };
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let unnamed = rustix::fs::open(scratch, flags, Mode::from_raw_mode(0o600));
    let mut unnamed = File::from(unnamed.map_err(|errno| failed(errno.into()))?);
    let mut source = Hashing::new(decoder, LAYER_MAX, &|_| {});
    let mut buffer = vec![0; BUFFER];
    let mut offset = 0;
    loop {
        let length = source.read(&mut buffer).map_err(|source| UnpackError::Read { offset, source })?;
        if length == 0 {
            return Ok(unnamed);
        }
        unnamed.write_all(&buffer[..length]).map_err(failed)?;
        offset += length as u64;
    }
}
