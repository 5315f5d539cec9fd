//! What a path means in a layer and those below it, as overlay will show them: which links lead where.
//!
//! Owns: the resolving of links, which never leaves the root: `/` and `..` end there. Every single look-up goes
//! through `sys::unpack`, which follows no link; a way that leads through one is walked here, by name. Never:
//! changes anything.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    path::{Component, Path, PathBuf},
};

use super::OPAQUE_ATTRIBUTE;
use crate::sys::unpack::{Beneath, Kind};

/// Links followed on the way to one entry: the kernel's own bound (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Here: its folders are folders, or are to be made.
    Open(PathBuf),
    /// Something on it is no folder.
    NoFolder,
    /// It leads through too many links.
    Circle,
}

/// What one layer says of a path.
enum Said {
    Found(Kind),
    /// Nothing, and what is below is hidden.
    Hidden,
    Nothing,
}

/// Follows the way to a folder, as it stands in an archive or in a hard link's target.
pub(super) fn folder(
    layer: &mut Beneath,
    below: &mut dyn FnMut() -> io::Result<Vec<PathBuf>>,
    path: &Path,
) -> io::Result<Way> {
    let mut at = PathBuf::new();
    let mut ahead: VecDeque<OsString> = path.iter().map(OsString::from).collect();
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let (kind, text) = look(layer, below, &next)?;
        match kind {
            // What is not there is made as a folder.
            None | Some(Kind::Folder) => at = next,
            Some(Kind::Link) => {
                links += 1;
                if links > LINKS_MAX {
                    return Ok(Way::Circle);
                }
                let text = text.unwrap_or_default();
                if text.is_absolute() {
                    at = PathBuf::new();
                }
                let parts = text.components().rev().filter_map(|part| match part {
                    Component::Normal(name) => Some(name.to_owned()),
                    Component::ParentDir => Some(OsString::from("..")),
                    Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
                });
                parts.for_each(|part| ahead.push_front(part));
            }
            Some(_) => return Ok(Way::NoFolder),
        }
    }
    Ok(Way::Open(at))
}

/// What stands at a path whose folders are no links, and the text of a link.
fn look(
    layer: &mut Beneath,
    below: &mut dyn FnMut() -> io::Result<Vec<PathBuf>>,
    path: &Path,
) -> io::Result<(Option<Kind>, Option<PathBuf>)> {
    match ask(layer, path)? {
        Said::Found(kind) => return found(layer, kind, path),
        Said::Hidden => return Ok((None, None)),
        Said::Nothing => {}
    }
    Ok(match find(&below()?, path)? {
        Some((mut layer, kind)) => found(&mut layer, kind, path)?,
        None => (None, None),
    })
}

fn found(layer: &mut Beneath, kind: Kind, path: &Path) -> io::Result<(Option<Kind>, Option<PathBuf>)> {
    let text = if kind == Kind::Link { Some(layer.read_link(path)?) } else { None };
    Ok((Some(kind), text))
}

/// The nearest of these layers that shows something at a path, and what.
pub(super) fn find(layers: &[PathBuf], path: &Path) -> io::Result<Option<(Beneath, Kind)>> {
    for layer in layers {
        let mut layer = Beneath::open(layer)?;
        match ask(&mut layer, path)? {
            Said::Found(kind) => return Ok(Some((layer, kind))),
            Said::Hidden => return Ok(None),
            Said::Nothing => {}
        }
    }
    Ok(None)
}

/// What a single layer says: overlay merges folders, until one is opaque or something else stands there.
fn ask(layer: &mut Beneath, path: &Path) -> io::Result<Said> {
    let mut at = PathBuf::new();
    let mut names = path.iter().peekable();
    let mut opaque = false;
    while let Some(name) = names.next() {
        at.push(name);
        match (layer.kind(&at)?, names.peek()) {
            (None, _) if opaque => return Ok(Said::Hidden),
            (None, _) => return Ok(Said::Nothing),
            (Some(Kind::WHITEOUT), _) => return Ok(Said::Hidden),
            (Some(kind), None) => return Ok(Said::Found(kind)),
            (Some(Kind::Folder), Some(_)) => {
                opaque |= !layer.xattrs(&at, |name| name == OPAQUE_ATTRIBUTE.as_bytes())?.is_empty();
            }
            (Some(_), Some(_)) => return Ok(Said::Hidden),
        }
    }
    Ok(Said::Found(Kind::Folder))
}
