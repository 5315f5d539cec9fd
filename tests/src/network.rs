//! The network of a daemon under test: a network namespace of its own, made by its nursery, so that bridges, firewall
//! tables and host ports never meet the host's.
//!
//! Owns: the way into it. Never: joins it with a thread that goes back to others' work.

use std::{
    fs::File,
    io,
    net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    process::{Command, Output},
    thread,
};

use nix::sched::{CloneFlags, setns};

/// The network namespace of a process that lives as long as this value is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    pid: u32,
}

impl Network {
    /// That of this process.
    pub fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// Does something inside, on a thread of its own. A socket that is made there, and a process that is started
    /// there, belong to that network wherever they are used later.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/proc/{}/ns/net", self.pid);
        let done = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace = File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap_or_else(|e| panic!("{path}: {e}"));
                work()
            });
            thread.join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs a program inside, to its end.
    pub fn output(&self, command: &mut Command) -> Output {
        self.inside(|| command.output()).unwrap_or_else(|e| panic!("{command:?}: {e}"))
    }

    /// What a program inside prints; it must succeed.
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.output(Command::new(words[0]).args(&words[1..]));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {error}", words.join(" "));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A listening socket inside, for a server that runs in the test.
    pub fn listen(&self, address: &str) -> TcpListener {
        self.inside(|| TcpListener::bind(address)).unwrap_or_else(|e| panic!("{address}: {e}"))
    }

    /// A connection from inside.
    pub fn connect(&self, address: impl ToSocketAddrs + Send) -> io::Result<TcpStream> {
        self.inside(|| TcpStream::connect(address))
    }

    /// A datagram socket inside.
    pub fn datagrams(&self, address: &str) -> UdpSocket {
        self.inside(|| UdpSocket::bind(address)).unwrap_or_else(|e| panic!("{address}: {e}"))
    }
}
