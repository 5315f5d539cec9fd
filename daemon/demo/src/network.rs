//! Commands that speak on the network: a server, and a client for it.
//!
//! Never: more of HTTP than a page and its length.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use crate::{
    commands::{Outcome, argument},
    limits::{ANSWER, DATAGRAM_MAX, HEAD_MAX, PAGE_MAX},
    output,
};

/// Listens on all addresses of the pod, of both families where there are two.
fn listen<T>(port: u16, bind: impl Fn(SocketAddr) -> std::io::Result<T>) -> std::io::Result<T> {
    bind((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|_| bind((Ipv4Addr::UNSPECIFIED, port).into()))
}

/// `serve PORT TEXT`: a page over HTTP; a datagram comes back with the text behind it.
pub(crate) fn serve(args: &[String]) -> Outcome {
    let port = argument(args, 0, "PORT")?.parse()?;
    let text = argument(args, 1, "TEXT")?.to_owned();
    let tcp = listen(port, TcpListener::bind)?;
    let udp = listen(port, UdpSocket::bind)?;
    output::line(&format!("serving at port {port}"))?;
    let echo = text.clone();
    thread::spawn(move || {
        let mut bytes = vec![0; DATAGRAM_MAX];
        while let Ok((length, from)) = udp.recv_from(&mut bytes) {
            let mut answer = bytes[..length].to_vec();
            answer.extend_from_slice(echo.as_bytes());
            // Whoever asked may have gone.
            udp.send_to(&answer, from).ok();
        }
    });
    for connection in tcp.incoming() {
        // One that breaks off is no reason to end.
        drop(connection.and_then(|connection| answer(connection, &text)));
    }
    Ok(0)
}

fn answer(mut connection: TcpStream, text: &str) -> std::io::Result<()> {
    connection.set_read_timeout(Some(ANSWER))?;
    let mut lines = BufReader::new((&connection).take(HEAD_MAX)).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let from = connection.peer_addr()?.ip().to_canonical();
    let page = format!("{text}, {from}\n");
    let length = page.len();
    write!(
        connection,
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{page}"
    )
}

/// `fetch ADDRESS:PORT`: prints the page that is served there.
pub(crate) fn fetch(args: &[String]) -> Outcome {
    let at: SocketAddr = argument(args, 0, "ADDRESS:PORT")?.parse()?;
    let mut connection = TcpStream::connect_timeout(&at, ANSWER)?;
    connection.set_read_timeout(Some(ANSWER))?;
    write!(connection, "GET / HTTP/1.0\r\nHost: {at}\r\n\r\n")?;
    let mut said = String::new();
    connection.take(PAGE_MAX).read_to_string(&mut said)?;
    let page = said.split_once("\r\n\r\n").map(|(_, page)| page).ok_or("no page")?;
    output::line(page.trim_end())?;
    Ok(0)
}
