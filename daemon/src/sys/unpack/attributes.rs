//! What a file is and looks like, apart from its content.
//!
//! Never: touches the file system.

use rustix::fs::{FileType, Stat};

/// Extended attributes, name and value.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Owner, permissions and time of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time: seconds since the epoch and nanoseconds. `None`: left as it comes.
    pub mtime: Option<(i64, u32)>,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// What kind of file stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A character device, major and minor number.
    Char(u32, u32),
    /// A block device, major and minor number.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Attributes {
    /// Those that a stat result tells; extended attributes are not among them.
    pub fn of(stat: &Stat) -> Self {
        let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let mtime = Some((stat.st_mtime, nanos));
        Self { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime, xattrs: Vec::new() }
    }
}

impl Kind {
    /// overlay's mark for "hidden here": the character device 0/0.
    pub const WHITEOUT: Self = Self::Char(0, 0);

    /// The kind that a stat result tells.
    pub fn of(stat: &Stat) -> Self {
        let numbers = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            FileType::CharacterDevice => Self::Char(numbers.0, numbers.1),
            FileType::BlockDevice => Self::Block(numbers.0, numbers.1),
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::RegularFile | FileType::Unknown => Self::File,
        }
    }
}
