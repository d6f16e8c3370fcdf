//! Carries UDP datagrams of a published port to its container, and the replies back to each client.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::client::on_behalf_of;
use super::tcp::Scratch;
use crate::nftables;
use crate::port::Protocol;

/// How long a client is remembered after its container's last reply; Docker's proxy does the same.
const IDLE: Duration = Duration::from_secs(90);

/// Clients of one port at a time; a datagram of one more is dropped, as a full queue would.
const CLIENTS: usize = 4096;

/// One client: the socket whose replies are its own, and where it leads.
struct Flow {
    socket: Rc<UdpSocket>,
    target: SocketAddrV4,
}

type Flows = Rc<RefCell<HashMap<SocketAddr, Flow>>>;

/// Carries for ever. When `target` changes, each client's next datagram goes to the new one.
pub(crate) async fn serve(socket: UdpSocket, target: Rc<Cell<SocketAddrV4>>, scratch: Scratch) {
    let socket = Rc::new(socket);
    let flows = Flows::default();
    loop {
        if socket.readable().await.is_err() {
            continue;
        }
        let (client, datagram) = {
            let mut buffer = scratch.borrow_mut();
            match socket.try_recv_from(&mut buffer) {
                Ok((count, client)) => (client, buffer[..count].to_vec()),
                // An empty queue, or the report of a reply that a client did not want.
                Err(_) => continue,
            }
        };
        let known = {
            let flows = flows.borrow();
            flows.get(&client).filter(|flow| flow.target == target.get()).map(|flow| Rc::clone(&flow.socket))
        };
        let outgoing = match known {
            Some(outgoing) => outgoing,
            None => match open(Rc::downgrade(&socket), &flows, client, target.get()).await {
                Some(outgoing) => outgoing,
                None => continue,
            },
        };
        // UDP may lose; the client's own patience decides.
        let _lost = outgoing.send(&datagram).await;
    }
}

async fn open(
    socket: Weak<UdpSocket>,
    flows: &Flows,
    client: SocketAddr,
    target: SocketAddrV4,
) -> Option<Rc<UdpSocket>> {
    if flows.borrow().len() >= CLIENTS {
        return None;
    }
    let behalf = on_behalf_of(client.ip(), target);
    let own = behalf.map_or(Ipv4Addr::UNSPECIFIED, |(own, _)| own);
    let outgoing = UdpSocket::bind((own, 0)).await.ok()?;
    if let Some((_, client)) = behalf {
        // A container that sees our address instead is better than a client that sees none.
        let _unseen = nftables::tell_client(Protocol::Udp, outgoing.local_addr().ok()?.port(), client);
    }
    outgoing.connect(target).await.ok()?;
    let outgoing = Rc::new(outgoing);
    flows.borrow_mut().insert(client, Flow { socket: Rc::clone(&outgoing), target });
    let (flows, replies) = (Rc::clone(flows), Rc::clone(&outgoing));
    spawn_local(async move {
        let mut buffer = Vec::with_capacity(2048);
        loop {
            buffer.clear();
            match timeout(IDLE, replies.recv_buf(&mut buffer)).await {
                Ok(Ok(_)) => {
                    // The port is no longer published: its socket must not live on in here.
                    let Some(socket) = socket.upgrade() else { break };
                    let _lost = socket.send_to(&buffer, client).await;
                }
                // Nobody listens in the container (any more), or the client has fallen silent.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        let mut flows = flows.borrow_mut();
        // A newer flow of the same client stays.
        if flows.get(&client).is_some_and(|flow| Rc::ptr_eq(&flow.socket, &replies)) {
            flows.remove(&client);
        }
    });
    Some(outgoing)
}
