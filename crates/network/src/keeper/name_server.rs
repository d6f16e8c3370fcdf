//! The name server of one gateway: listens, answers from zones, forwards the rest.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::dns::{Answer, Transport, Zone, answer, failure, links, visible};

/// The port of every name server.
pub(super) const PORT: u16 = 53;

/// How long one resolver is waited for before the next is asked. Clients ask again after 5 s.
const UPSTREAM: Duration = Duration::from_millis(1500);

/// How often the list of resolvers is gone through.
const ROUNDS: usize = 2;

/// How long a client's TCP connection may say nothing.
const IDLE: Duration = Duration::from_secs(10);

/// Queries that are being forwarded, and TCP clients, at a time. More wait their turn or, by UDP, ask again.
const AT_ONCE: usize = 512;

/// The same of one client: one that floods us must leave room for its neighbours.
const OF_ONE: usize = 64;

/// The largest query by UDP; ordinary ones have less than 100 bytes.
const QUERY: usize = 4096;

/// What all name servers of a keeper answer from.
pub(super) struct Served {
    pub(super) zones: RefCell<Vec<Zone>>,
    pub(super) upstreams: RefCell<Vec<IpAddr>>,
    turn: Cell<usize>,
    permits: Semaphore,
    clients: RefCell<HashMap<IpAddr, usize>>,
}

/// A client's place among those that are served; given back when dropped.
struct Admission<'a> {
    served: &'a Served,
    client: IpAddr,
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let mut clients = self.served.clients.borrow_mut();
        if let Some(count) = clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

impl Served {
    pub(super) fn new() -> Self {
        Self {
            zones: RefCell::default(),
            upstreams: RefCell::default(),
            turn: Cell::default(),
            permits: Semaphore::new(AT_ONCE),
            clients: RefCell::default(),
        }
    }

    /// Admits one more query or connection of a client; none if it has too many.
    fn admit(&self, client: IpAddr) -> Option<Admission<'_>> {
        let mut clients = self.clients.borrow_mut();
        let count = clients.entry(client).or_default();
        if *count >= OF_ONE {
            return None;
        }
        *count += 1;
        Some(Admission { served: self, client })
    }

    fn decide(&self, query: &[u8], gateway: Ipv4Addr, client: IpAddr, transport: Transport) -> Answer {
        let client = match client {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        };
        self.turn.set(self.turn.get().wrapping_add(1));
        let zones = self.zones.borrow();
        let own = links(&zones, gateway, client);
        answer(query, &visible(&zones, gateway, client), own, self.turn.get(), transport)
    }

    /// Asks the host's resolvers in turn; none if there is nothing to say.
    async fn forward(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let upstreams = self.upstreams.borrow().clone();
        let mut second_best = None;
        for upstream in upstreams.iter().cycle().take(upstreams.len() * ROUNDS) {
            let asked = match transport {
                Transport::Udp => timeout(UPSTREAM, by_udp(query, *upstream)).await,
                Transport::Tcp => timeout(UPSTREAM, by_tcp(query, *upstream)).await,
            };
            let Ok(Ok(reply)) = asked else { continue };
            // SERVFAIL and REFUSED: another resolver may know.
            if !matches!(reply.get(3).map(|flags| flags & 0x0f), Some(2 | 5)) {
                return Some(reply);
            }
            second_best = Some(reply);
        }
        second_best.or_else(|| reply_of(failure(query, !upstreams.is_empty(), transport)))
    }
}

fn reply_of(answer: Answer) -> Option<Vec<u8>> {
    match answer {
        Answer::Reply(bytes) => Some(bytes),
        Answer::Forward | Answer::Ignore => None,
    }
}

/// Serves UDP for ever.
pub(super) async fn serve_udp(socket: UdpSocket, gateway: Ipv4Addr, served: Rc<Served>) {
    let socket = Rc::new(socket);
    let mut buffer = vec![0; QUERY].into_boxed_slice();
    loop {
        // An error here is the report of a reply that a client did not want.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let query = &buffer[..length];
        match served.decide(query, gateway, client.ip(), Transport::Udp) {
            Answer::Ignore => {}
            Answer::Reply(reply) => {
                let _lost = socket.send_to(&reply, client).await;
            }
            Answer::Forward => {
                // The socket is only lent: when the network goes, so must its port.
                let (socket, served, query) = (Rc::downgrade(&socket), Rc::clone(&served), query.to_vec());
                spawn_local(async move {
                    let Some(_admission) = served.admit(client.ip()) else { return };
                    let Ok(_permit) = served.permits.try_acquire() else { return };
                    let reply = served.forward(&query, Transport::Udp).await;
                    if let (Some(reply), Some(socket)) = (reply, socket.upgrade()) {
                        let _lost = socket.send_to(&reply, client).await;
                    }
                });
            }
        }
    }
}

/// Serves TCP for ever.
pub(super) async fn serve_tcp(listener: TcpListener, gateway: Ipv4Addr, served: Rc<Served>) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let served = Rc::clone(&served);
                spawn_local(async move {
                    let _ended_by_client = converse(stream, gateway, client.ip(), &served).await;
                });
            }
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn converse(
    mut stream: TcpStream,
    gateway: Ipv4Addr,
    client: IpAddr,
    served: &Served,
) -> io::Result<()> {
    let Some(_admission) = served.admit(client) else { return Ok(()) };
    let _permit = served.permits.acquire().await.map_err(io::Error::other)?;
    loop {
        let query = timeout(IDLE, read_message(&mut stream)).await??;
        let reply = match served.decide(&query, gateway, client, Transport::Tcp) {
            Answer::Ignore => return Ok(()),
            Answer::Reply(reply) => reply,
            Answer::Forward => match served.forward(&query, Transport::Tcp).await {
                Some(reply) => reply,
                None => return Ok(()),
            },
        };
        write_message(&mut stream, &reply).await?;
    }
}

/// A message over TCP comes after its length (RFC 1035 section 4.2.2).
async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(message);
    stream.write_all(&framed).await
}

/// Asks from a port of the kernel's choice, new for each query, so that a forged reply must guess it.
async fn by_udp(query: &[u8], upstream: IpAddr) -> io::Result<Vec<u8>> {
    let local: SocketAddr = match upstream {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect((upstream, PORT)).await?;
    socket.send(query).await?;
    let mut reply = vec![0; QUERY];
    loop {
        let length = socket.recv(&mut reply).await?;
        if answers(&reply[..length], query) {
            reply.truncate(length);
            return Ok(reply);
        }
    }
}

async fn by_tcp(query: &[u8], upstream: IpAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((upstream, PORT)).await?;
    write_message(&mut stream, query).await?;
    let reply = read_message(&mut stream).await?;
    if answers(&reply, query) { Ok(reply) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Returns whether `reply` is a response with the id and the question of `query`.
fn answers(reply: &[u8], query: &[u8]) -> bool {
    let is_response = reply.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let end = question_end(query);
    is_response && reply.get(..2) == query.get(..2) && end.is_some_and(|end| {
        // A server may leave the question out of an error.
        let questions = reply.get(4..6) == Some(&[0, 0]);
        questions || matches!((reply.get(12..end), query.get(12..end)), (Some(a), Some(b)) if a.eq_ignore_ascii_case(b))
    })
}

/// Returns where the first question of a query ends: after its labels, type and class.
fn question_end(query: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        match usize::from(*query.get(at)?) {
            0 => return Some(at + 5),
            length => at += length + 1,
        }
    }
}
