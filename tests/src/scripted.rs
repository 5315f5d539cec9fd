//! A registry that misbehaves by script: a small HTTP server on a loopback port, one answer a connection.
//!
//! Owns: its sockets and threads, which end with the value. Never: good manners of its own: what is sent is what the
//! script says.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use nix::sys::socket::{Shutdown, shutdown};

use crate::{limits::SOON, network::Network};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// What was posted.
    pub body: String,
}

/// What is done with it.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A whole answer: status, headers, body. `Content-Length` is added.
    Whole(u16, Vec<(String, String)>, Vec<u8>),
    /// Exactly these bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// These bytes, then nothing for as long as the server lives.
    Hang(Vec<u8>),
    /// These bytes, then zeros until the other end has had enough.
    Endless(Vec<u8>),
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

/// A running server.
#[derive(Debug)]
pub struct Scripted {
    host: String,
    listener: TcpListener,
    requests: Arc<(Mutex<Vec<Request>>, Condvar)>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Answer {
    /// A status and nothing more.
    pub fn status(status: u16) -> Self {
        Self::Whole(status, Vec::new(), Vec::new())
    }

    /// A good answer of this type.
    pub fn good(media_type: &str, body: Vec<u8>) -> Self {
        Self::Whole(200, vec![("Content-Type".to_owned(), media_type.to_owned())], body)
    }

    /// The same answer with one header more.
    pub fn with(self, name: &str, value: &str) -> Self {
        match self {
            Self::Whole(status, mut headers, body) => {
                headers.push((name.to_owned(), value.to_owned()));
                Self::Whole(status, headers, body)
            }
            other => other,
        }
    }

    fn send(self, to: &mut TcpStream, stop: &AtomicBool) -> io::Result<()> {
        match self {
            Self::Whole(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} Scripted\r\nConnection: close\r\n");
                headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
                head += &format!("Content-Length: {}\r\n\r\n", body.len());
                to.write_all(head.as_bytes())?;
                to.write_all(&body)
            }
            Self::Raw(bytes) => to.write_all(&bytes),
            Self::Hang(bytes) => {
                to.write_all(&bytes)?;
                // Until the other end leaves, or the test is over.
                to.set_read_timeout(Some(crate::limits::LOOK))?;
                while !stop.load(Ordering::Relaxed) && !matches!(to.read(&mut [0; 64]), Ok(0)) {}
                Ok(())
            }
            Self::Endless(bytes) => {
                to.write_all(&bytes)?;
                let zeros = vec![0; 1 << 16];
                while !stop.load(Ordering::Relaxed) {
                    to.write_all(&zeros)?;
                }
                Ok(())
            }
        }
    }
}

impl Scripted {
    /// Starts a server that follows this script, on the loopback device of a daemon's network.
    pub fn start(network: Network, script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = network.listen("127.0.0.1:0");
        let own = listener.try_clone().expect("a descriptor is free");
        let host = listener.local_addr().expect("it is bound").to_string();
        let requests = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, stopping) = (Arc::clone(&requests), Arc::clone(&stop));
        let script: Arc<Script> = Arc::new(script);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (script, seen, stop) = (Arc::clone(&script), Arc::clone(&seen), Arc::clone(&stopping));
                // The other end may leave at any time: that is its right.
                thread::spawn(move || serve(stream, &*script, &seen, &stop).ok());
            }
        });
        Self { host, listener: own, requests, stop, accepting: Some(accepting) }
    }

    /// A good registry of one layout, except where `script` has an answer of its own.
    pub fn of_layout(
        network: Network,
        layout: &Path,
        script: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let layout = layout.to_owned();
        Self::start(network, move |request| script(request).unwrap_or_else(|| from_layout(&layout, request)))
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The whole name of an image here.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.host)
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.0.lock().expect("nobody panics here").clone()
    }

    /// How many requests so far had this in their path.
    pub fn count(&self, part: &str) -> usize {
        self.requests().iter().filter(|request| request.path.contains(part)).count()
    }

    /// Waits for a request with this in its path.
    pub fn wait_for(&self, part: &str) {
        let lock = self.requests.0.lock().expect("nobody panics here");
        let found = |seen: &mut Vec<Request>| !seen.iter().any(|request| request.path.contains(part));
        let (_lock, late) =
            self.requests.1.wait_timeout_while(lock, SOON, found).expect("nobody panics here");
        assert!(!late.timed_out(), "nobody asked for {part}");
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the one who accepts.
        shutdown(self.listener.as_raw_fd(), Shutdown::Both).ok();
        if let Some(accepting) = self.accepting.take() {
            accepting.join().ok();
        }
    }
}

fn serve(
    stream: TcpStream,
    script: &Script,
    seen: &(Mutex<Vec<Request>>, Condvar),
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let Some(request) = read(&mut reader)? else { return Ok(()) };
    let answer = script(&request);
    seen.0.lock().expect("nobody panics here").push(request);
    seen.1.notify_all();
    let mut stream = stream;
    answer.send(&mut stream, stop)
}

fn read(from: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: String::new(),
    };
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        request.headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    from.take(length).read_to_string(&mut request.body)?;
    Ok(Some(request))
}

/// What a good registry answers from a layout: any tag is the one image of its index.
pub fn from_layout(layout: &Path, request: &Request) -> Answer {
    let path = request.path.split('?').next().unwrap_or_default();
    let digest = match path.rsplit_once('/') {
        Some((_, last)) if last.starts_with("sha256:") => last.to_owned(),
        _ => {
            let index = fs::read(layout.join("index.json")).unwrap_or_default();
            let index: serde_json::Value = serde_json::from_slice(&index).unwrap_or_default();
            index["manifests"][0]["digest"].as_str().unwrap_or_default().to_owned()
        }
    };
    match fs::read(layout.join("blobs").join(digest.replace(':', "/"))) {
        Err(_) => Answer::status(404),
        Ok(bytes) if request.path.contains("/manifests/") => {
            let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            Answer::good(manifest["mediaType"].as_str().unwrap_or("application/json"), bytes)
        }
        Ok(bytes) => Answer::good("application/octet-stream", bytes),
    }
}
