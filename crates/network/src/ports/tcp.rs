//! Carries TCP connections of a published port to its container.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use super::client::on_behalf_of;
use crate::nftables;
use crate::port::Protocol;
use rustix::net::{Shutdown, shutdown, sockopt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{consume_budget, spawn_local};
use tokio::time::{sleep, timeout};

/// How long a container may take to accept; its address is one bridge away.
const CONNECT: Duration = Duration::from_secs(10);

/// A pause while descriptors are short, so that the connections at work can end.
const SHORTAGE: Duration = Duration::from_millis(50);

/// One buffer for all connections: each read is written at once, so an idle connection holds no memory.
pub(crate) type Scratch = Rc<RefCell<Box<[u8]>>>;

/// Returns a buffer for all connections of a keeper.
pub(crate) fn scratch() -> Scratch {
    Rc::new(RefCell::new(vec![0; 64 * 1024].into_boxed_slice()))
}

/// Accepts for ever. `target` may change while connections run; they stay with what they were made to.
pub(crate) async fn serve(listener: TcpListener, target: Rc<Cell<SocketAddrV4>>, scratch: Scratch) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let (target, scratch) = (target.get(), Rc::clone(&scratch));
                spawn_local(async move {
                    // Whoever is at fault, both sides learn of it by the end of their connections.
                    let _told_by_closing = carry(client, target, scratch).await;
                });
            }
            Err(_) => sleep(SHORTAGE).await,
        }
    }
}

async fn carry(client: TcpStream, target: SocketAddrV4, scratch: Scratch) -> io::Result<()> {
    let connected = timeout(CONNECT, connect(&client, target)).await.map_err(io::Error::from).flatten();
    let container = match connected {
        Ok(container) => container,
        Err(error) => {
            // A reset, not an orderly end: the client must not take it for an empty reply.
            sockopt::set_socket_linger(client.as_fd(), Some(Duration::ZERO))?;
            return Err(error);
        }
    };
    for stream in [&client, &container] {
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(stream.as_fd(), true)?;
    }
    let outcome = tokio::try_join!(pump(&client, &container, &scratch), pump(&container, &client, &scratch))
        .map(|_| ());
    if outcome.is_err() {
        for stream in [&client, &container] {
            sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO))?;
        }
    }
    outcome
}

/// Connects to a container for a client, whose address the connection takes where the packet filter can do that.
async fn connect(client: &TcpStream, target: SocketAddrV4) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some((own, client)) = client.peer_addr().ok().and_then(|peer| on_behalf_of(peer.ip(), target)) {
        socket.bind((own, 0).into())?;
        // A container that sees our address instead is better than a client that sees none.
        let _unseen = nftables::tell_client(Protocol::Tcp, socket.local_addr()?.port(), client);
    }
    socket.connect(target.into()).await
}

/// Copies one way until the end, which is passed on; the other way may go on.
async fn pump(from: &TcpStream, to: &TcpStream, scratch: &Scratch) -> io::Result<()> {
    loop {
        // A fast pair of peers must not starve the others of this thread.
        consume_budget().await;
        from.readable().await?;
        let rest = match take(from, to, &mut scratch.borrow_mut())? {
            Taken::End => break,
            Taken::Nothing => continue,
            Taken::Written => Vec::new(),
            Taken::Rest(rest) => rest,
        };
        let mut rest = rest.as_slice();
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    match shutdown(to.as_fd(), Shutdown::Write) {
        // The receiver has gone already.
        Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

enum Taken {
    End,
    Nothing,
    Written,
    Rest(Vec<u8>),
}

fn take(from: &TcpStream, to: &TcpStream, scratch: &mut [u8]) -> io::Result<Taken> {
    let read = match from.try_read(scratch) {
        Ok(0) => return Ok(Taken::End),
        Ok(count) => &scratch[..count],
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Taken::Nothing),
        Err(error) => return Err(error),
    };
    match to.try_write(read) {
        Ok(count) if count == read.len() => Ok(Taken::Written),
        Ok(count) => Ok(Taken::Rest(read[count..].to_vec())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Taken::Rest(read.to_vec())),
        Err(error) => Err(error),
    }
}
