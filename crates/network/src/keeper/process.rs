//! The keeper's process: its sockets, and the loop that serves the control socket.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use coracle_fault::Point;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, setsid};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UdpSocket, UnixListener, UnixStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::control::{LONGEST_LINE, Reply, Request, Status, VERSION};
use super::name_server::{self, Served};
use super::state::KeeperState;
use crate::lock::Lock;
use crate::port::{Protocol, PublishedPort};
use crate::ports::tcp::Scratch;
use crate::ports::{self, BindError, HostSockets, Socket};

pub(super) const STATE: &str = "state.json";
pub(super) const SOCKET: &str = "keeper.sock";
pub(super) const LOCK: &str = "lock";
pub(super) const EDIT_LOCK: &str = "edit.lock";
/// What the keeper says on its first line of output when it serves.
pub(super) const READY: &str = "ready";

/// How often what could not be bound is tried again, and whether the directory still stands.
const ROUND: Duration = Duration::from_secs(5);

/// How long a control client may take over its request.
const REQUEST: Duration = Duration::from_secs(5);

/// Why a keeper could not begin, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Another keeper serves the directory.
    #[error("another keeper serves {}", .0.display())]
    Taken(PathBuf),
    /// A file of the directory cannot be used.
    #[error("cannot use {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The event loop cannot be made.
    #[error("cannot start the event loop")]
    Runtime(#[source] io::Error),
}

/// Is the keeper of `directory` until it is told to end or has nothing left to serve. Says `ready` on `output` once it
/// serves, or why it cannot. For a process of its own: leaves its session and its working directory.
///
/// Ports that cannot be bound at the start are tried again; a later change fails as a whole if one cannot.
pub fn run(directory: &Path, mut output: impl Write, sockets: HostSockets) -> Result<(), ProcessError> {
    // Fails for the leader of a session, which is what we want to be.
    let _leader = setsid();
    let _stays = std::env::set_current_dir("/");
    raise_descriptor_limit();
    let outcome = serve(directory, &mut output, sockets);
    if let Err(error) = &outcome {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        // Whoever started us may be gone.
        let _unheard = writeln!(output, "{error}{cause}");
    }
    outcome
}

fn serve(directory: &Path, output: &mut impl Write, sockets: HostSockets) -> Result<(), ProcessError> {
    let file = |name: &str| directory.join(name);
    let failed = |name: &'static str| move |error| ProcessError::File(directory.join(name), error);
    // Of two keepers started at once for one scope, one serves.
    let lock = Lock::try_acquire(&file(LOCK)).map_err(failed(LOCK))?;
    let Some(lock) = lock else { return Err(ProcessError::Taken(directory.to_owned())) };
    coracle_fault::hit(Point::KeeperLocked).map_err(failed(LOCK))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ProcessError::Runtime)?;
    LocalSet::new().block_on(&runtime, async {
        let state = KeeperState::read(&file(STATE)).map_err(failed(STATE))?;
        let mut keeper = Keeper::new(directory, sockets);
        keeper.adopt_possible(state).await;
        coracle_fault::hit(Point::KeeperBound).map_err(failed(SOCKET))?;
        // A killed keeper's name; the lock says that it is no more.
        match fs::remove_file(file(SOCKET)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(SOCKET)(error)),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(file(SOCKET)).map_err(failed(SOCKET))?;
        coracle_fault::hit(Point::KeeperListening).map_err(failed(SOCKET))?;
        // Whoever started us may be gone; the state on disk is what counts.
        let _unheard = writeln!(output, "{READY}").and_then(|()| output.flush());
        keeper.attend(&listener, &lock).await;
        Ok(())
    })
}

fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Two descriptors a connection; what the hard limit allows is allowed.
    let _unchanged = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// What tells host sockets apart.
type Key = (Protocol, Option<IpAddr>, u16);

fn key(port: &PublishedPort) -> Key {
    (port.protocol, port.host_ip, port.host_port)
}

/// One host socket at work.
struct Held {
    port: PublishedPort,
    target: Rc<Cell<SocketAddrV4>>,
    task: JoinHandle<()>,
}

struct Keeper {
    directory: PathBuf,
    sockets: HostSockets,
    served: Rc<Served>,
    servers: BTreeMap<Ipv4Addr, [JoinHandle<()>; 2]>,
    held: BTreeMap<Key, Held>,
    missing: Vec<BindError>,
    scratch: Scratch,
}

/// Sockets that are bound but not yet served.
#[derive(Default)]
struct Bound {
    ports: Vec<(PublishedPort, Socket)>,
    servers: Vec<(Ipv4Addr, std::net::UdpSocket, std::net::TcpListener)>,
    failures: Vec<BindError>,
}

impl Keeper {
    fn new(directory: &Path, sockets: HostSockets) -> Self {
        Self {
            directory: directory.to_owned(),
            sockets,
            served: Rc::new(Served::new()),
            servers: BTreeMap::new(),
            held: BTreeMap::new(),
            missing: Vec::new(),
            scratch: ports::tcp::scratch(),
        }
    }

    async fn attend(&mut self, listener: &UnixListener, lock: &Lock) {
        let mut round = interval(ROUND);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    };
                    // One at a time: changes have an order. A client that says nothing is left soon.
                    if let Ok(Ok(Life::Ends)) = timeout(REQUEST * 2, self.attend_one(stream)).await {
                        return;
                    }
                }
                _ = round.tick() => {
                    // The run root was cleared away: nobody can reach us, and nobody will miss us.
                    if !lock.is_current(&self.directory.join(LOCK)) {
                        return;
                    }
                    if !self.missing.is_empty()
                        && let Ok(state) = KeeperState::read(&self.directory.join(STATE))
                    {
                        self.adopt_possible(state).await;
                    }
                }
            }
        }
    }

    async fn attend_one(&mut self, stream: UnixStream) -> io::Result<Life> {
        let (reader, mut writer) = stream.into_split();
        let mut line = String::new();
        timeout(REQUEST, BufReader::new(reader.take(LONGEST_LINE)).read_line(&mut line)).await??;
        let mut life = Life::GoesOn;
        let reply = match serde_json::from_str(&line) {
            Ok(Request::Status) => Reply::Status(self.status()),
            Ok(Request::Stop) => {
                coracle_fault::hit(Point::KeeperEnding)?;
                life = Life::Ends;
                Reply::Done
            }
            Ok(Request::Reload) => match KeeperState::read(&self.directory.join(STATE)) {
                Ok(state) => {
                    let empty = state.is_empty();
                    match self.adopt(state).await {
                        Ok(()) => {
                            coracle_fault::hit(Point::KeeperReloaded)?;
                            if empty {
                                life = Life::Ends;
                            }
                            Reply::Done
                        }
                        Err(failures) => Reply::Busy { failures },
                    }
                }
                Err(error) => Reply::Failed { message: format!("cannot read {STATE}: {error}") },
            },
            Err(error) => Reply::Failed { message: format!("not a request: {error}") },
        };
        let mut reply = serde_json::to_vec(&reply)?;
        reply.push(b'\n');
        let written = writer.write_all(&reply).await;
        match life {
            // Whoever asked for the end gets it, even when it does not wait for the reply.
            Life::Ends => Ok(life),
            Life::GoesOn => written.map(|()| life),
        }
    }

    fn status(&self) -> Status {
        Status {
            pid: std::process::id(),
            networks: self.served.zones.borrow().iter().map(|zone| zone.network.clone()).collect(),
            ports: self.held.values().map(|held| held.port.clone()).collect(),
            missing: self.missing.clone(),
            version: VERSION,
        }
    }

    /// Serves `state` wholly, or goes on as before.
    async fn adopt(&mut self, state: KeeperState) -> Result<(), Vec<BindError>> {
        // A port that moves from one address to another (127.0.0.1 to all) is in its own way.
        let retired = self.retire_conflicting(&state).await;
        let bound = self.bind_new(&state);
        if !bound.failures.is_empty() {
            let failures = bound.failures;
            drop((bound.ports, bound.servers));
            for port in retired {
                match ports::bind(port.protocol, port.host_ip, port.host_port, &self.sockets) {
                    Ok(socket) => self.hold(port, socket),
                    Err(error) => self.missing.push(error),
                }
            }
            return Err(failures);
        }
        self.install(state, bound).await;
        Ok(())
    }

    /// Serves as much of `state` as can be bound, and remembers the rest.
    async fn adopt_possible(&mut self, state: KeeperState) {
        let bound = self.bind_new(&state);
        self.install(state, bound).await;
    }

    async fn retire_conflicting(&mut self, state: &KeeperState) -> Vec<PublishedPort> {
        let wanted: Vec<Key> = state.ports.iter().map(key).collect();
        let new = |protocol, port| {
            wanted.iter().any(|key| key.0 == protocol && key.2 == port && !self.held.contains_key(key))
        };
        let conflicting: Vec<Key> =
            self.held.keys().filter(|key| !wanted.contains(key) && new(key.0, key.2)).copied().collect();
        let mut retired = Vec::new();
        for key in conflicting {
            if let Some(held) = self.held.remove(&key) {
                end(held.task).await;
                retired.push(held.port);
            }
        }
        retired
    }

    fn bind_new(&self, state: &KeeperState) -> Bound {
        let mut bound = Bound::default();
        let mut seen = Vec::new();
        for port in &state.ports {
            if seen.contains(&key(port)) {
                // Two containers of one scope on one port: the second is in the first's way.
                let error = io::Error::from_raw_os_error(libc::EADDRINUSE);
                bound.failures.push(BindError::new(port.protocol, port.host_ip, port.host_port, &error));
                continue;
            }
            seen.push(key(port));
            if self.held.contains_key(&key(port)) {
                continue;
            }
            match ports::bind(port.protocol, port.host_ip, port.host_port, &self.sockets) {
                Ok(socket) => bound.ports.push((port.clone(), socket)),
                Err(error) => bound.failures.push(error),
            }
        }
        for zone in state.zones.iter().filter(|zone| zone.listens) {
            let known = self.servers.contains_key(&zone.gateway)
                || bound.servers.iter().any(|(gateway, ..)| *gateway == zone.gateway);
            if known {
                continue;
            }
            match ports::bind_name_server(zone.gateway, name_server::PORT) {
                Ok((udp, tcp)) => bound.servers.push((zone.gateway, udp, tcp)),
                Err(error) => bound.failures.push(error),
            }
        }
        bound
    }

    async fn install(&mut self, state: KeeperState, bound: Bound) {
        let wanted: BTreeMap<Key, PublishedPort> =
            state.ports.iter().rev().map(|port| (key(port), port.clone())).collect();
        let gateways: Vec<Ipv4Addr> =
            state.zones.iter().filter(|zone| zone.listens).map(|zone| zone.gateway).collect();
        let gone: Vec<Key> = self.held.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            if let Some(held) = self.held.remove(&key) {
                end(held.task).await;
            }
        }
        let gone: Vec<Ipv4Addr> =
            self.servers.keys().filter(|gateway| !gateways.contains(gateway)).copied().collect();
        for gateway in gone {
            for task in self.servers.remove(&gateway).into_iter().flatten() {
                end(task).await;
            }
        }
        for (key, held) in &mut self.held {
            if let Some(port) = wanted.get(key) {
                held.target.set(target(port));
                held.port = port.clone();
            }
        }
        self.missing = bound.failures;
        // A gateway of ours among the resolvers would ask itself.
        let upstreams = state.upstreams.into_iter();
        let upstreams =
            upstreams.filter(|address| !gateways.iter().any(|gateway| address == gateway)).collect();
        self.served.upstreams.replace(upstreams);
        self.served.zones.replace(state.zones);
        for (port, socket) in bound.ports {
            self.hold(port, socket);
        }
        for (gateway, udp, tcp) in bound.servers {
            let converted = UdpSocket::from_std(udp).and_then(|udp| Ok((udp, TcpListener::from_std(tcp)?)));
            match converted {
                Ok((udp, tcp)) => {
                    let tasks = [
                        spawn_local(name_server::serve_udp(udp, gateway, Rc::clone(&self.served))),
                        spawn_local(name_server::serve_tcp(tcp, gateway, Rc::clone(&self.served))),
                    ];
                    self.servers.insert(gateway, tasks);
                }
                Err(error) => self.missing.push(BindError::new(
                    Protocol::Udp,
                    Some(gateway.into()),
                    name_server::PORT,
                    &error,
                )),
            }
        }
    }

    fn hold(&mut self, port: PublishedPort, socket: Socket) {
        let target = Rc::new(Cell::new(target(&port)));
        let scratch = Rc::clone(&self.scratch);
        let task = match socket {
            Socket::Tcp(listener) => TcpListener::from_std(listener)
                .map(|listener| spawn_local(ports::tcp::serve(listener, Rc::clone(&target), scratch))),
            Socket::Udp(socket) => UdpSocket::from_std(socket)
                .map(|socket| spawn_local(ports::udp::serve(socket, Rc::clone(&target), scratch))),
        };
        match task {
            Ok(task) => {
                self.held.insert(key(&port), Held { port, target, task });
            }
            Err(error) => {
                self.missing.push(BindError::new(port.protocol, port.host_ip, port.host_port, &error));
            }
        }
    }
}

/// Whether the keeper lives on after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    GoesOn,
    Ends,
}

fn target(port: &PublishedPort) -> SocketAddrV4 {
    SocketAddrV4::new(port.container_ip, port.container_port)
}

/// Ends a task and waits until what it held is closed.
async fn end(task: JoinHandle<()>) {
    task.abort();
    let _cancelled = task.await;
}
